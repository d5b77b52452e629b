// Runs one of the npm clients of the Authy API, as it is, or what an integrator wrote for the dashboard API: `node client.js LIBRARY`. Each line of standard input is one
// call as JSON, ["method", argument, …]; each line of standard output is what the client made of it, as JSON with
// "error" or "result". The server and the key come from API_URL and API_KEY.
"use strict";

const { createHmac, timingSafeEqual } = require("node:crypto");
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

	// Signs calls of the dashboard API, makes registration tokens, and checks events, with nothing but Node's crypto.
	dashboard(_, url) {
		const base64url = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
		const mac = (key, text) => createHmac("sha256", key).update(text);
		const methods = {
			// Pairs are [name, value], in the order in which they are sent. A forged one was added after signing.
			async request(method, path, pairs, signingKey, { forged = [], nonce = String(Math.floor(Date.now() / 1000)) } = {}) {
				const signed = pairs.map((pair) => new URLSearchParams([pair]).toString()).sort().join("&");
				const params = [...pairs, ...forged].map((pair) => new URLSearchParams([pair]).toString()).join("&");
				const response = await fetch(url + path + (method === "GET" ? "?" + params : ""), {
					method,
					body: method === "GET" ? undefined : params,
					headers: {
						"Content-Type": "application/x-www-form-urlencoded",
						"X-Authy-Signature-Nonce": nonce,
						"X-Authy-Signature": mac(signingKey, [nonce, method, url + path, signed].join("|")).digest("base64"),
					},
				});
				const body = await response.json();
				return response.ok ? { result: body } : { error: body };
			},
			async token(claims, key) {
				const text = base64url({ alg: "HS256", typ: "JWT" }) + "." + base64url(claims);
				return { result: { token: text + "." + mac(key, text).digest("base64url") } };
			},
			async claims(token, key) {
				const [header, body, signature] = token.split(".");
				const want = mac(key, header + "." + body).digest();
				const got = Buffer.from(signature, "base64url");
				const read = (part) => JSON.parse(Buffer.from(part, "base64url"));
				if (read(header).alg !== "HS256" || got.length !== want.length || !timingSafeEqual(got, want)) {
					return { error: { message: "bad signature" } };
				}
				return { result: read(body) };
			},
		};
		return (method, parameters) => methods[method](...parameters);
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
