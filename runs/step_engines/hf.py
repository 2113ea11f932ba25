"""Worker with Hugging Face transformers and its own cache: python hf.py FOLDER THREADS NUM_DRAFT DEVICE."""

import sys
import time

import torch
from transformers import AutoModelForCausalLM, DynamicCache
from worker import StepCase, prompt, serve


@torch.inference_mode()
def main() -> None:
    folder, threads, num_draft, device = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    torch.set_num_threads(threads)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).to(device)

    def measure(case: StepCase) -> list[float]:
        cache = DynamicCache()
        model(
            torch.tensor([prompt(case, stream) for stream in range(case["streams"])], device=device),
            past_key_values=cache,
        )
        new = torch.full((case["streams"], num_draft + 1), 17, device=device)
        steps_s = []
        for _ in range(case["steps"]):
            start_s = time.perf_counter()
            model(new, past_key_values=cache).logits.argmax(-1).tolist()
            if num_draft:
                cache.crop(-num_draft)  # every draft was wrong
            steps_s.append(time.perf_counter() - start_s)
        return steps_s

    serve(measure)


main()
