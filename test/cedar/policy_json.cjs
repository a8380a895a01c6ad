// The JSON form that cedar-wasm gives policies.
//
//   node policy_json.cjs FILE
//
// NODE_PATH says where @cedar-policy/cedar-wasm is.  FILE has a JSON array of
// policies as text; the output is an array of their JSON forms, null for what
// is no policy.
'use strict';

const cedar = require('@cedar-policy/cedar-wasm/nodejs');
const fs = require('fs');

const answers = JSON.parse(fs.readFileSync(process.argv[2], 'utf8')).map((policy) => {
	const answer = cedar.policyToJson(policy);
	return answer.type === 'success' ? answer.json : null;
});
process.stdout.write(JSON.stringify(answers));
