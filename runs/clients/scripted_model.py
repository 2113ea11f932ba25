"""What the scripted model answers: it calls the weather tool, reads the result, and reports in the form asked for."""

import json

from goodspeed.testing.text_target import TEMPLATES

REPORT = {"city": "Köln", "degrees": 21}
RESULT = "21 degrees"
"""What the clients' tool returns."""
TOOL = "weather"


def answer_to(prompt: str) -> str:
    """The model's text. A tool that is not the weather tool is an output tool: its arguments are the report."""
    tools = _tools(prompt)
    others = [name for name in tools if name != TOOL]
    has_result = RESULT in prompt
    if TOOL in tools and not has_result:
        return _call(TOOL, {"city": "Köln"})
    if others:
        return _call(others[0], REPORT)
    if "report" in prompt.lower():
        return json.dumps(REPORT, ensure_ascii=False)
    return "It is warm in Köln." if has_result else "Hello."


def _tools(prompt: str) -> list[str]:
    """Names of the tools that the chat template has put before the messages."""
    introduction = TEMPLATES["hermes"]
    if not prompt.startswith(introduction):
        return []
    tools, _ = json.JSONDecoder().raw_decode(prompt.removeprefix(introduction))
    return [tool["function"]["name"] for tool in tools]


def _call(name: str, arguments: dict[str, object]) -> str:
    call = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    return f"<tool_call>\n{call}\n</tool_call>"
