"""OpenAI's SDK: chat completions and responses, with tools, streamed, and parsed."""

import json
import sys

import openai
import pydantic

QUESTION = "Is it warm in Köln?"
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CHAT_TOOL = {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}
TOOL = {"type": "function", "name": "weather", "parameters": PARAMETERS}


class Report(pydantic.BaseModel):
    city: str
    degrees: int


def chat(client: openai.OpenAI) -> None:
    messages = [{"role": "user", "content": QUESTION}]
    with client.chat.completions.stream(model="toy", messages=messages, tools=[CHAT_TOOL]) as stream:
        for _ in stream:
            pass
        message = stream.get_final_completion().choices[0].message
    (call,) = message.tool_calls
    assert json.loads(call.function.arguments) == {"city": "Köln"}, call
    messages += [message, {"role": "tool", "tool_call_id": call.id, "content": "21 degrees"}]
    answer = client.chat.completions.create(model="toy", messages=messages, tools=[CHAT_TOOL])
    assert answer.choices[0].message.content == "It is warm in Köln."
    print("chat: call, result, answer")
    asked = [{"role": "user", "content": "Send a report."}]
    parsed = client.chat.completions.parse(model="toy", messages=asked, response_format=Report)
    assert parsed.choices[0].message.parsed == Report(city="Köln", degrees=21)
    print("chat: structured answer")
    tools = [openai.pydantic_function_tool(Report)]
    parsed = client.chat.completions.parse(model="toy", messages=asked, tools=tools, tool_choice="required")
    (call,) = parsed.choices[0].message.tool_calls
    assert call.function.parsed_arguments == Report(city="Köln", degrees=21)
    print("chat: required call, parsed")


def responses(client: openai.OpenAI) -> None:
    items = [{"role": "user", "content": QUESTION}]
    with client.responses.stream(model="toy", input=items, tools=[TOOL]) as stream:
        for _ in stream:
            pass
        response = stream.get_final_response()
    (call,) = [item for item in response.output if item.type == "function_call"]
    items += [item.model_dump(exclude={"parsed_arguments"}) for item in response.output]
    items.append({"type": "function_call_output", "call_id": call.call_id, "output": "21 degrees"})
    answer = client.responses.create(model="toy", input=items, tools=[TOOL])
    assert answer.output_text == "It is warm in Köln."
    print("responses: call, result, answer")
    parsed = client.responses.parse(model="toy", input="Send a report.", text_format=Report)
    assert parsed.output_parsed == Report(city="Köln", degrees=21)
    print("responses: structured answer")


if __name__ == "__main__":
    print("openai", openai.__version__)
    sdk = openai.OpenAI(base_url=sys.argv[1], api_key="none", max_retries=0)
    chat(sdk)
    responses(sdk)
