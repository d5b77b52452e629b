// Runs one of the npm clients of the Authy API, as it is: `node client.js LIBRARY`. Each line of standard input is one
// call as JSON, ["method", argument, …]; each line of standard output is what the client made of it, as JSON with
// "error" or "result". The server and the key come from API_URL and API_KEY.
"use strict";

const { createInterface } = require("node:readline");

const libraries = {
	// Hands everything to a callback. The calls about phones are one object further down: "phones.info".
	authy(key, url) {
		const client = require("authy")(key, url);
		return (method, parameters) =>
			new Promise((resolve) => {
				const [first, second] = method.split(".");
				const [object, name] = second ? [client[first](), second] : [client, first];
				object[name](...parameters, (error, result) => resolve({ error, result }));
			});
	},

	// Checks what is sent and what comes back, and rejects with errors of its own.
	"authy-client"(key, host) {
		const { Client } = require("authy-client");
		const client = new Client({ key }, { host });
		return (method, parameters) =>
			client[method](...parameters).then(
				(result) => ({ result }),
				(error) => ({ error: { name: error.name, code: error.code, message: error.message, body: error.body, errors: error.errors } }),
			);
	},
};

async function main() {
	const call = libraries[process.argv[2]](process.env.API_KEY, process.env.API_URL);
	for await (const line of createInterface({ input: process.stdin })) {
		const [method, ...parameters] = JSON.parse(line);
		const { error, result } = await call(method, parameters);
		const told = error instanceof Error ? { message: error.message } : error;
		console.log(JSON.stringify({ error: told ?? null, result: result ?? null }));
	}
}

main();
