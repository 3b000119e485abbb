// Reads a form in parts as node's fetch does, and prints its fields: a text as it is, a file with its name, type and text.
const { TYPE: type, BODY: body } = process.env;
const form = await new Response(body, { headers: { "content-type": type } }).formData();
const fields = [];
for (const [name, value] of form) {
  const file = typeof value !== "string" && { filename: value.name, type: value.type, text: await value.text() };
  fields.push([name, file || value]);
}
console.log(JSON.stringify(fields));
