// Random sets of Cedar policies with random requests, and what cedar-wasm says
// to them.
//
//   node random.cjs SEED SETS [POLICIES]
//
// NODE_PATH says where @cedar-policy/cedar-wasm is.  One line a set, fields
// separated by tabs: number, policies, entities, requests with answers, as
// test/tap/lib/CedarCases.pm takes them.  A set has 1 to POLICIES (50)
// policies.  Most expressions have the type that they need, some have not; all
// integers of JSON are small, since JavaScript has no others.
'use strict';

const cedar = require('@cedar-policy/cedar-wasm/nodejs');

let state = BigInt(process.argv[2]) * 2654435761n + 1n;
const sets = Number(process.argv[3]);
const largest = Number(process.argv[4] || 50);

// xorshift64: the same cases for the same seed everywhere
function random(n) {
	state ^= (state << 13n) & 0xffffffffffffffffn;
	state ^= state >> 7n;
	state ^= (state << 17n) & 0xffffffffffffffffn;
	return Number((state >> 11n) % BigInt(n));
}

const pick = (list) => list[random(list.length)];
const chance = (percent) => random(100) < percent;
const times = (n, make) => Array.from({ length: n }, make);

const types = ['User', 'Group', 'App::Doc', 'Folder'];
const names = ['a', 'b', 'c', 'd', 'e'];
const attributes = ['n', 's', 'flag', 'owner', 'list', 'nested', 'addr', 'price', 'at', 'for', 'a b'];
const strings = ['', 'a', 'b', 'ab', 'abc', 'a*c', 'ä€😀', 'owner', 'line\nbreak', '"q"', 'back\\slash', 'aaab', 'xaabx'];
const longs = ['0', '1', '2', '3', '-1', '5', '10', '100', '-9223372036854775808', '9223372036854775807', '4611686018427387904', '3037000500'];
const ips = ['127.0.0.1', '10.0.0.1', '10.0.0.0/8', '10.1.0.0/16', '0.0.0.0/0', '::1', 'ff02::1', 'fe80::/10', '::/0', '224.0.0.0/4',
	'192.0.2.1/33', '1.2.3', '01.2.3.4', '::ffff:1.2.3.4', '1:2:3:4:5:6:7:8', '1::2::3', '10.0.0.0/08', '127.255.0.0/7', ''];
const decimals = ['0.0', '1.0', '1.00', '-1.5', '12.3456', '922337203685477.5807', '-922337203685477.5808', '922337203685477.5808', '1', '1.', '.5', '1.23456', '-0.5'];
const datetimes = ['1970-01-01', '2024-02-29', '2023-02-29', '2024-10-15T11:35:00Z', '2024-10-15T11:35:00.123Z', '2024-10-15T11:35:00+0130',
	'1969-12-31T23:59:59.999-2359', '2024-10-15T24:00:00Z', '0000-01-01', '9999-12-31T23:59:59Z', '2024-10-15T11:35:60Z', '2024-10-15T11:35Z', '2024-13-01'];
const durations = ['0ms', '1d', '-1d2h3m4s5ms', '1h30m', '90m', '9223372036854775807ms', '-9223372036854775808ms', '106751991168d', '1m1h', '', '-', '1.5h', '36h'];

const quote = (s) => JSON.stringify(s).replace(/[\u007f-\uffff]/g, (c) => c);
const uid = (type, id) => `${type}::${quote(id)}`;
const someUid = () => chance(15) ? uid('Action', pick(['view', 'edit', 'all', 'none'])) : uid(pick(types), pick(names));

// Expressions

const kinds = ['bool', 'long', 'string', 'entity', 'set', 'record', 'ip', 'decimal', 'datetime', 'duration'];
const attributeOf = { long: 'n', string: 's', bool: 'flag', entity: 'owner', set: 'list', record: 'nested', ip: 'addr', decimal: 'price', datetime: 'at', duration: 'for' };
const variables = ['principal', 'resource', 'context', 'context.nested'];

const access = (object, name) => /^[a-z]+$/.test(name) ? `${object}.${name}` : `${object}[${quote(name)}]`;
const anything = (depth) => make[pick(kinds)](depth);
const reach = (kind) => access(pick(variables), chance(90) ? attributeOf[kind] : pick(attributes));
const leaf = (kind, list) => chance(45) ? reach(kind) : `${kind}(${quote(pick(list))})`;
const typed = (kind, depth) => chance(3) ? anything(depth) : make[kind](depth);

function pattern() {
	return '"' + times(1 + random(4), () => chance(45) ? '*' : pick(['a', 'b', 'ab', 'c', '\\*', 'ä', 'x'])).join('') + '"';
}

function pathOfHas() {
	return chance(25) ? quote(pick(attributes)) : times(1 + random(3), () => pick(['nested', 'n', 's', 'owner', 'missing'])).join('.');
}

const make = {
	bool(depth) {
		if (depth <= 0)
			return pick(['true', 'false', reach('bool'), `(${pick(variables)} has ${pathOfHas()})`, `(principal is ${pick(types)})`]);
		const d = depth - 1;
		const some = pick(kinds);
		return '(' + pick([
			() => `${typed('bool', d)} && ${typed('bool', d)}`,
			() => `${typed('bool', d)} || ${typed('bool', d)}`,
			() => `!${typed('bool', 0)}`,
			() => `${typed(some, d)} ${pick(['==', '!='])} ${typed(some, d)}`,
			() => `${typed('long', d)} ${pick(['<', '<=', '>', '>='])} ${typed('long', d)}`,
			() => `${typed('datetime', d)} ${pick(['<', '<=', '>', '>='])} ${typed('datetime', d)}`,
			() => `${typed('duration', d)} ${pick(['<', '<=', '>', '>='])} ${typed('duration', d)}`,
			() => `${typed('entity', d)} in ${chance(60) ? typed('entity', d) : `[${times(random(4), () => typed('entity', 0)).join(', ')}]`}`,
			() => `${typed('entity', d)} is ${pick(types)}${chance(40) ? ` in ${typed('entity', d)}` : ''}`,
			() => `${typed('string', d)} like ${pattern()}`,
			() => `${typed(pick(['entity', 'record']), d)} has ${pathOfHas()}`,
			() => `${typed('set', d)}.contains(${anything(0)})`,
			() => `${typed('set', d)}.${pick(['containsAll', 'containsAny'])}(${typed('set', d)})`,
			() => `${typed('set', d)}.isEmpty()`,
			() => `${typed('entity', d)}.hasTag(${typed('string', 0)})`,
			() => `${typed('ip', d)}.${pick(['isIpv4', 'isIpv6', 'isLoopback', 'isMulticast'])}()`,
			() => `${typed('ip', d)}.isInRange(${typed('ip', d)})`,
			() => `${typed('decimal', d)}.${pick(['lessThan', 'lessThanOrEqual', 'greaterThan', 'greaterThanOrEqual'])}(${typed('decimal', d)})`,
			() => `if ${typed('bool', d)} then ${typed('bool', d)} else ${typed('bool', d)}`,
		])() + ')';
	},
	long(depth) {
		if (depth <= 0)
			return chance(50) ? reach('long') : pick(longs).replace(/^-.*/, '($&)');
		const d = depth - 1;
		return '(' + pick([
			() => `${typed('long', d)} ${pick(['+', '-', '*'])} ${typed('long', d)}`,
			() => `-${typed('long', 0).replace(/^-/, '0 - ')}`,
			() => `${typed('duration', d)}.${pick(['toMilliseconds', 'toSeconds', 'toMinutes', 'toHours', 'toDays'])}()`,
			() => `if ${typed('bool', d)} then ${typed('long', d)} else ${typed('long', d)}`,
		])() + ')';
	},
	string: (depth) => depth > 0 && chance(10) ? `${typed('entity', depth - 1)}.getTag(${quote(pick(strings))})` : chance(40) ? reach('string') : quote(pick(strings)),
	entity: (depth) => chance(10) && depth > 0 ? `${typed('entity', depth - 1)}.owner` : pick(['principal', 'resource', 'action', reach('entity'), someUid()]),
	set: (depth) => chance(40) ? reach('set') : `[${times(random(4), () => typed(pick(['long', 'string', 'entity', pick(kinds)]), depth - 2)).join(', ')}]`,
	record: (depth) => chance(50) ? pick(['context', reach('record')]) :
		`{${[...new Set(times(random(4), () => pick(attributes)))].map((k) => `${quote(k)}: ${anything(depth - 2)}`).join(', ')}}`,
	ip: (depth) => leaf('ip', ips),
	decimal: (depth) => leaf('decimal', decimals),
	datetime: (depth) => depth > 0 && chance(30) ? pick([() => `${typed('datetime', depth - 1)}.offset(${typed('duration', 0)})`, () => `${typed('datetime', depth - 1)}.toDate()`])() : leaf('datetime', datetimes),
	duration: (depth) => depth > 0 && chance(30) ? pick([() => `${typed('datetime', depth - 1)}.durationSince(${typed('datetime', 0)})`, () => `${typed('datetime', depth - 1)}.toTime()`])() : leaf('duration', durations),
};

// Policies

function scope(variable) {
	return variable + pick([
		() => '', () => '', () => '',
		() => ` == ${someUid()}`,
		() => ` in ${someUid()}`,
		() => ` is ${pick(types)}`,
		() => ` is ${pick(types)} in ${someUid()}`,
	])();
}

function policy() {
	const action = pick(['action', 'action', 'action == Action::"view"', 'action in Action::"all"', 'action in [Action::"edit", Action::"all"]', 'action in []']);
	const conditions = times(random(3), () => ` ${pick(['when', 'when', 'unless'])} { ${typed('bool', 3)} }`).join('');
	return `${pick(['permit', 'permit', 'forbid'])}(${scope('principal')}, ${action}, ${scope('resource')})${conditions};`;
}

// Data

const extension = (fn, list) => ({ __extn: { fn, arg: pick(list) } });
const good = {
	ip: ips.slice(0, 10), decimal: decimals.slice(0, 7), datetime: ['1970-01-01', '2024-02-29', '2024-10-15T11:35:00.123Z'], duration: durations.slice(0, 7),
};
const reference = () => ({ __entity: { type: pick(types), id: pick(names) } });

const datum = {
	n: () => random(20) - 5,
	s: () => pick(strings),
	flag: () => chance(50),
	owner: reference,
	list: () => times(random(4), () => pick([() => random(5), () => pick(strings), reference, () => [random(2)]])()),
	nested: () => chance(50) ? record(2) : {},
	addr: () => extension('ip', good.ip),
	price: () => extension('decimal', good.decimal),
	at: () => extension('datetime', good.datetime),
	for: () => extension('duration', good.duration),
	'a b': () => random(3),
};

function record(n) {
	return Object.fromEntries(times(n, () => pick(attributes)).map((k) => [k, datum[k]()]));
}

// Parents are later in the order of types and names: there are no cycles.
function entities() {
	const all = types.flatMap((type) => names.map((id) => ({ type, id })));
	const made = all.map((entity, i) => ({
		uid: entity,
		attrs: record(random(9)),
		parents: times(random(3), () => all[i + 1 + random(all.length - i)]).filter((parent) => parent),
		tags: Object.fromEntries(times(random(3), () => [pick(strings), pick(strings)])),
	})).filter(() => chance(85));
	const action = (id, ...parents) => ({ uid: { type: 'Action', id }, attrs: {}, parents: parents.map((p) => ({ type: 'Action', id: p })) });
	return [...made, action('view', 'all'), action('edit', 'all'), action('all')];
}

// Answers

function ask(request, policies, data) {
	const answer = cedar.statefulIsAuthorized({ ...request, preparsedPolicySetId: policies, validateRequest: false, entities: data });
	if (answer.type !== 'success')
		throw new Error(JSON.stringify(answer));
	return {
		...request,
		decision: answer.response.decision,
		reason: answer.response.diagnostics.reason,
		errors: answer.response.diagnostics.errors.map((error) => error.policyId),
	};
}

const field = (text) => text.replace(/\\/g, '\\\\').replace(/\t/g, '\\t').replace(/\n/g, '\\n').replace(/\r/g, '\\r');

for (let n = 0; n < sets; n++) {
	const text = times(1 + random(largest), policy).join('\n');
	const data = entities();
	const parsed = cedar.preparsePolicySet('set', { staticPolicies: text });
	if (parsed.type !== 'success')
		throw new Error(`${JSON.stringify(parsed)}\n${text}`);
	const requests = times(4, () => ask({
		principal: { type: pick(['User', 'User', 'Group']), id: pick(names) },
		action: { type: 'Action', id: pick(['view', 'edit', 'all', 'none']) },
		resource: { type: pick(['App::Doc', 'Folder']), id: pick(names) },
		context: record(random(9)),
	}, 'set', data));
	console.log([String(n), text, JSON.stringify(data), JSON.stringify({ requests })].map(field).join('\t'));
}
