"""LangChain: bound tools, and structured output by every method, over chat completions and responses."""

import sys
from importlib.metadata import version

import pydantic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI


class Report(pydantic.BaseModel):
    """A report."""

    city: str
    degrees: int


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    assert city == "Köln"
    return "21 degrees"


def main() -> None:
    for is_responses in (False, True):
        name = "responses" if is_responses else "chat"
        options = {"base_url": sys.argv[1], "api_key": "none", "max_retries": 0, "use_responses_api": is_responses}
        model = ChatOpenAI(model="toy", **options)
        with_tools = model.bind_tools([weather])
        messages = [HumanMessage("Is it warm in Köln?")]
        called = with_tools.invoke(messages)
        streamed = None
        for chunk in with_tools.stream(messages):
            streamed = chunk if streamed is None else streamed + chunk
        assert [call["args"] for call in streamed.tool_calls] == [call["args"] for call in called.tool_calls]
        (call,) = called.tool_calls
        messages += [called, ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"])]
        assert with_tools.invoke(messages).text == "It is warm in Köln."
        print(f"{name}: call, result, answer")
        for method in ("function_calling", "json_schema", "json_mode"):
            if method == "json_mode" and is_responses:
                continue
            report = model.with_structured_output(Report, method=method).invoke("Send a report.")
            assert report == Report(city="Köln", degrees=21), report
            print(f"{name}: structured answer by {method}")


if __name__ == "__main__":
    print("langchain-openai", version("langchain-openai"))
    main()
