"""Hugging Face transformers with its own cache: python hf.py FOLDER THREADS NUM_DRAFT DEVICE."""

import sys
import time

import torch
from served import Case, prompt, serve
from transformers import AutoModelForCausalLM, DynamicCache


@torch.inference_mode()
def main() -> None:
    folder, threads, num_draft, device = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    torch.set_num_threads(threads)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).to(device)

    def measure(case: Case) -> list[float]:
        cache = DynamicCache()
        model(torch.tensor([prompt(case, one) for one in range(case["streams"])], device=device), past_key_values=cache)
        new = torch.full((case["streams"], num_draft + 1), 17, device=device)
        steps_s = []
        for _ in range(case["steps"]):
            began = time.perf_counter()
            model(new, past_key_values=cache).logits.argmax(-1).tolist()
            if num_draft:
                cache.crop(-num_draft)  # every draft was wrong
            steps_s.append(time.perf_counter() - began)
        return steps_s

    serve(measure)


main()
