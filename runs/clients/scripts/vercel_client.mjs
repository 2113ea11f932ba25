// The Vercel AI SDK: tools and objects, whole and streamed, over chat completions and over responses.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateObject, generateText, stepCountIs, streamObject, streamText, tool } from "ai";
import { z } from "zod";

const baseURL = process.argv[2];
const compatible = createOpenAICompatible({ name: "goodspeed", baseURL, supportsStructuredOutputs: true });
const official = createOpenAI({ baseURL, apiKey: "none" });
const models = { chat: compatible("toy"), "chat (openai)": official.chat("toy"), responses: official.responses("toy") };
const weather = tool({
  description: "The weather of a city",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => {
    assert.equal(city, "Köln");
    return "21 degrees";
  },
});
const report = { schema: z.object({ city: z.string(), degrees: z.number() }), prompt: "Send a report.", maxRetries: 0 };

console.log("ai", createRequire(import.meta.url)("ai/package.json").version);
for (const [name, model] of Object.entries(models)) {
  const asked = { model, tools: { weather }, prompt: "Is it warm in Köln?", stopWhen: stepCountIs(3), maxRetries: 0 };
  assert.equal((await generateText(asked)).text, "It is warm in Köln.");
  const streamed = streamText(asked);
  let steps = 0;
  for await (const part of streamed.fullStream) steps += part.type === "finish-step";
  assert.equal(await streamed.text, "It is warm in Köln.");
  assert.equal(steps, 2);
  console.log(`${name}: call, result, answer; whole and streamed`);
  assert.deepEqual((await generateObject({ model, ...report })).object, { city: "Köln", degrees: 21 });
  const streamedReport = streamObject({ model, ...report });
  let last;
  for await (const partial of streamedReport.partialObjectStream) last = partial;
  assert.deepEqual(last, { city: "Köln", degrees: 21 });
  console.log(`${name}: structured answer, whole and streamed`);
}
