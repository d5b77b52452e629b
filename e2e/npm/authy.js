// Calls the npm client `authy`, as it is, once: `node authy.js METHOD ARGUMENTS-AS-JSON`. The server and the key come
// from API_URL and API_KEY. Prints what the client hands to its callback, as JSON.
"use strict";

const [method, parameters] = process.argv.slice(2);
const authy = require("authy")(process.env.API_KEY, process.env.API_URL);

authy[method](...JSON.parse(parameters), (error, result) => {
	console.log(JSON.stringify({ error: error ?? null, result: result ?? null }));
});
