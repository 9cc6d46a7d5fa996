"""What stands in for vLLM, which needs a GPU, so that TRL's own code for it can run: its client, its server mode and
its colocated mode. Only what lies behind TRL's calls is ours, and it samples with Transformers:

- `Server` answers on loopback as `vllm serve` does to TRL's `VLLMClient`: token ids and their log-probabilities of a
  model of its own, which changes only when TRL sends it weights.
- `LLM` is the engine of the colocated mode; asleep it has forgotten its weights (NaN), as vLLM's sleep level 2 does.
- Weights travel to the server through a queue in place of NCCL, and `VLLMClient.init_communicator`, which refuses any
  device but CUDA, is replaced; the requests that announce the weights are TRL's.
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.machinery import ModuleSpec
from queue import Queue
from types import ModuleType, SimpleNamespace

import torch
from transformers import AutoModelForCausalLM


VERSION = "0.28.0"  # the lowest with the weight transfer that TRL calls stateful


@torch.no_grad()
def sample(model, prompt_ids, max_tokens, eos_token_id, generator, temperature):
    """One completion and the log-probability of each token, without cache and padding: slow and obvious."""
    token_ids, logprobs = [], []
    while len(token_ids) < max_tokens and token_ids[-1:] != [eos_token_id]:
        logits = model(torch.tensor([prompt_ids + token_ids])).logits[0, -1].float()
        distribution = (logits / temperature).log_softmax(-1)
        token_ids.append(int(torch.multinomial(distribution.exp(), 1, generator=generator)))
        logprobs.append(float(distribution[token_ids[-1]]))
    return token_ids, logprobs


def load_weights(model, named_tensors):
    parameters = dict(model.named_parameters())
    for name, tensor in named_tensors:
        parameters[name].data.copy_(tensor)


class Server(ThreadingHTTPServer):
    """`requests` has the number of prompts of each generation, `pushes` the number of tensors received."""

    def __init__(self, model_folder):
        super().__init__(("127.0.0.1", 0), Handler)
        self.model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32).eval()
        self.generator = torch.Generator().manual_seed(0)
        self.link, self.lock = Queue(), threading.Lock()
        self.requests, self.pushes, self.calls = [], 0, []
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, body):
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        config = {
            "weight_transfer_config": {"backend": "nccl"},
            "model_config": {"logprobs_mode": "processed_logprobs"},
        }
        self.answer(
            {
                "/health": {},
                "/v1/models": {"data": [{"id": "stand-in"}]},
                "/server_info": {"vllm_config": config},
                "/get_world_size": {"world_size": 1},
            }[self.path.partition("?")[0]]
        )

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"] or 0)) or "{}")
        with self.server.lock:
            self.server.calls.append(self.path)
            answer = {"/v1/completions": self.complete, "/update_weights": self.update_weights}.get(self.path)
            self.answer(answer(body) if answer else {"success": True})

    def update_weights(self, body):
        info = body["update_info"]
        named = [(name, self.server.link.get(timeout=30)) for name in info["names"]]
        assert [list(tensor.shape) for _, tensor in named] == info["shapes"]
        load_weights(self.server.model, named)
        self.server.pushes += len(named)
        return {}

    def complete(self, body):
        assert body["return_token_ids"]
        assert body["return_tokens_as_token_ids"]
        self.server.requests.append(len(body["prompt"]))
        choices = []
        for prompt_ids in body["prompt"]:
            for _ in range(body["n"]):
                model = self.server.model
                eos = model.config.eos_token_id
                sampled = sample(
                    model, prompt_ids, body["max_tokens"], eos, self.server.generator, body["temperature"]
                )
                token_ids, logprobs = sampled
                tokens = [f"token_id:{token}" for token in token_ids]
                choices.append(
                    {
                        "index": len(choices),
                        "prompt_token_ids": prompt_ids,
                        "token_ids": token_ids,
                        "logprobs": {
                            "tokens": tokens,
                            "token_logprobs": logprobs,
                            "top_logprobs": [{t: p} for t, p in zip(tokens, logprobs, strict=True)],
                        },
                    }
                )
        return {"choices": choices}


class LLM:
    """The engine of the colocated mode. With tensor parallelism every rank of a group holds the whole model here."""

    made: "list[LLM]" = []

    def __init__(self, model, *, max_num_seqs, seed, enable_sleep_mode, logprobs_mode, **kwargs):
        assert logprobs_mode == "processed_logprobs"
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
        self.generator = torch.Generator().manual_seed(seed)
        self.max_num_seqs, self.can_sleep, self.awake = max_num_seqs, enable_sleep_mode, {"weights", "kv_cache"}
        self.requests, self.pushes = [], 0
        runner = SimpleNamespace(model=SimpleNamespace(load_weights=self.load_weights))
        worker = SimpleNamespace(model_runner=runner)
        self.llm_engine = SimpleNamespace(model_executor=SimpleNamespace(driver_worker=worker))
        self.made.append(self)

    def load_weights(self, named_tensors):
        assert "weights" in self.awake
        load_weights(self.model, named_tensors)
        self.pushes += 1

    def reset_prefix_cache(self):
        pass

    def wake_up(self, tags):
        self.awake |= set(tags)

    def sleep(self, level):
        assert self.can_sleep
        assert level == 2
        self.awake.clear()
        for parameter in self.model.parameters():
            parameter.data.fill_(torch.nan)

    def generate(self, prompts, sampling_params, use_tqdm):
        assert self.awake == {"weights", "kv_cache"}
        self.requests.append(len(prompts))
        outputs = []
        for prompt in prompts:
            token_ids, logprobs = sample(
                self.model,
                prompt["prompt_token_ids"],
                sampling_params.max_tokens,
                self.model.config.eos_token_id,
                self.generator,
                sampling_params.temperature,
            )
            ranked = [{t: SimpleNamespace(rank=1, logprob=p)} for t, p in zip(token_ids, logprobs, strict=True)]
            completion = SimpleNamespace(token_ids=token_ids, logprobs=ranked)
            outputs.append(SimpleNamespace(prompt_token_ids=prompt["prompt_token_ids"], outputs=[completion]))
        return outputs


def send(iterator, group, src, post_iter_func):
    """In place of the broadcast over NCCL: the trainer's side of the queue."""
    for item in iterator:
        group.put(post_iter_func(item).detach().clone())


def install():
    """Make `import vllm` find the stand-in. Before TRL is imported, which looks for vLLM only once."""
    contents = {
        "vllm": {
            "__version__": VERSION,
            "LLM": LLM,
            "RequestOutput": SimpleNamespace,
            "SamplingParams": SimpleNamespace,
        },
        "vllm.sampling_params": {"StructuredOutputsParams": SimpleNamespace},
        "vllm.utils": {},
        "vllm.utils.network_utils": {"get_ip": lambda: "127.0.0.1"},
        "vllm.distributed": {},
        "vllm.distributed.weight_transfer": {},
        "vllm.distributed.weight_transfer.nccl_common": {"trainer_init": None},
        "vllm.distributed.weight_transfer.packed_tensor": {"packed_nccl_broadcast_producer": send},
    }
    for name, values in contents.items():
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, loader=None)
        vars(module).update(values)
        sys.modules[name] = module


def connect(server):
    """Let TRL's client reach the server's queue where it would open an NCCL group."""
    from trl.generation.vllm_client import VLLMClient

    def init_communicator(self, device=0):
        assert self.get_server_info()["weight_transfer_config"] is not None
        assert self.get_world_size() == 1
        self.communicator = server.link

    VLLMClient.init_communicator = init_communicator
