// What the bench of Cedar asks: policies, entities and requests, and the time
// that cedar-wasm takes for a request.  It reads the entities in each call, so
// it is given those that the request is about and no others.
//
//   node cedar.cjs make POLICIES DIRECTORY		writes policies, entities, requests
//   node cedar.cjs wasm DIRECTORY CALLS		prints nanoseconds for a call
'use strict';

const { readFileSync, writeFileSync } = require('fs');

const users = 40;
const groups = 10;
const documents = 40;
const uid = (type, id) => ({ type, id: String(id) });

// A third of the policies is about the action that is asked for.
function policy(i) {
	const effect = i % 10 === 9 ? 'forbid' : 'permit';
	const who = i % 2 ? `principal in Group::"${i % groups}"` : 'principal';
	const what = i % 4 < 2 ? `resource in Folder::"${i % groups}"` : 'resource is Document';
	const conditions = [
		'resource.owner == principal', 'context.mfa && principal.level >= 3', 'context.ip.isInRange(ip("10.0.0.0/8"))',
		'["prod", "staging"].contains(resource.env)', 'principal.name like "user-*7" && resource has env',
	];
	return `${effect}(${who}, action == Action::"${['view', 'edit', 'share'][i % 3]}", ${what}) ${i % 10 === 9 ? 'unless' : 'when'} { ${conditions[i % 5]} };`;
}

function entities() {
	const of = (n, make) => Array.from({ length: n }, (_, i) => make(i));
	return [
		...of(users, (i) => ({ uid: uid('User', i), attrs: { name: `user-${i}`, level: i % 5 }, parents: [uid('Group', i % groups)] })),
		...of(groups, (i) => ({ uid: uid('Group', i), attrs: {}, parents: [] })),
		...of(groups, (i) => ({ uid: uid('Folder', i), attrs: {}, parents: [] })),
		...of(documents, (i) => ({
			uid: uid('Document', i),
			attrs: { owner: { __entity: uid('User', i % users) }, env: ['dev', 'staging', 'prod'][i % 3] },
			parents: [uid('Folder', i % groups)],
		})),
	];
}

const request = (i) => ({
	principal: uid('User', i % users), action: uid('Action', ['view', 'edit', 'share'][i % 3]), resource: uid('Document', (i * 7) % documents),
	context: { mfa: i % 2 === 0, ip: { __extn: { fn: 'ip', arg: `10.0.0.${i % 250}` } } },
});

const [what, ...args] = process.argv.slice(2);
if (what === 'make') {
	const [n, directory] = args;
	writeFileSync(`${directory}/policies`, Array.from({ length: Number(n) }, (_, i) => policy(i)).join('\n'));
	writeFileSync(`${directory}/entities`, JSON.stringify(entities()));
	writeFileSync(`${directory}/requests`, Array.from({ length: 1000 }, (_, i) => JSON.stringify(request(i))).join('\n') + '\n');
} else {
	const cedar = require('@cedar-policy/cedar-wasm/nodejs');
	const [directory, calls] = args;
	const read = (name) => readFileSync(`${directory}/${name}`, 'utf8');
	const data = JSON.parse(read('entities'));
	const requests = read('requests').trim().split('\n').map((line) => JSON.parse(line));
	cedar.preparsePolicySet('set', { staticPolicies: read('policies') });
	const inputs = requests.map((wanted) => {
		const found = [];
		const add = ({ type, id }) => {
			const entity = data.find((e) => e.uid.type === type && e.uid.id === id);
			if (!entity || found.includes(entity))
				return;
			found.push(entity);
			entity.parents.forEach(add);
		};
		add(wanted.principal);
		add(wanted.resource);
		return { ...wanted, preparsedPolicySetId: 'set', validateRequest: false, entities: found };
	});
	const ask = (i) => cedar.statefulIsAuthorized(inputs[i % inputs.length]);
	for (let i = 0; i < 100; i++)
		ask(i);
	const start = process.hrtime.bigint();
	let allowed = 0;
	for (let i = 0; i < Number(calls); i++)
		allowed += ask(i).response.decision === 'allow' ? 1 : 0;
	const time = Number(process.hrtime.bigint() - start) / Number(calls);
	console.log(`${Math.round(time)} ${allowed}`);
}
