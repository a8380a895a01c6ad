// Which documents a JSON Schema (2020-12) takes.
//
//   node schema.cjs SCHEMA DOCUMENTS
//
// NODE_PATH says where ajv is.  DOCUMENTS has a JSON array; the output is an
// array of true and false.
'use strict';

const Ajv = require('ajv/dist/2020').default;
const fs = require('fs');

const read = (file) => JSON.parse(fs.readFileSync(file, 'utf8'));
const validate = new Ajv({ strict: false, allErrors: false }).compile(read(process.argv[2]));
process.stdout.write(JSON.stringify(read(process.argv[3]).map((document) => validate(document))));
