"""pydantic-ai: an agent with a tool and a structured output, over chat completions and over responses."""

import asyncio
import sys
from importlib.metadata import version

import pydantic
from pydantic_ai import Agent, NativeOutput, ToolOutput
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider


class Report(pydantic.BaseModel):
    city: str
    degrees: int


def weather(city: str) -> str:
    """The weather of a city."""
    assert city == "Köln"
    return "21 degrees"


async def main() -> None:
    provider = OpenAIProvider(base_url=sys.argv[1], api_key="none")
    models = {
        "chat": OpenAIChatModel("toy", provider=provider),
        "responses": OpenAIResponsesModel("toy", provider=provider),
    }
    for name, model in models.items():
        agent = Agent(model, tools=[weather])
        result = await agent.run("Is it warm in Köln?")
        assert result.output == "It is warm in Köln.", result.output
        async with agent.run_stream("Is it warm in Köln?") as streamed:
            print(f"{name}: streamed {await streamed.get_output()!r}")
        print(f"{name}: call, result, answer")
        for kind in (ToolOutput, NativeOutput):
            reporter = Agent(model, tools=[weather], output_type=kind(Report))
            result = await reporter.run("Send a report.")
            assert result.output == Report(city="Köln", degrees=21), result.output
            print(f"{name}: call and structured answer by {kind.__name__}")


if __name__ == "__main__":
    print("pydantic-ai", version("pydantic-ai-slim"))
    asyncio.run(main())
