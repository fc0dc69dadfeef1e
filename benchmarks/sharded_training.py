"""Memory and time of training with the base LLM in shards, computed from shapes: nothing is run.

    python -m benchmarks.sharded_training

prints the table of docs/distributed.md. Parameters, bytes and operations are counted on the meta device, from the recipes and the models' published sizes
(`benchmarks/shapes.py`); times divide them by what a GPU and its links are sold to do. Measured times replace them once there are any.
"""

from dataclasses import dataclass
from typing import Any

from transformers import LlamaConfig, PreTrainedConfig, Qwen2Config

from benchmarks.shapes import LLAMA_3_70B, QWEN_2_5_7B, WHISPER_LARGE_V3, whisper_config
from transformers_aura.distillation.plan import TrainingPlan, plan_training
from transformers_aura.distillation.recipe import load_recipe, training_arguments
from transformers_aura.distillation.step_cost import StepCost, StepRows, count_step


PEAK = 989e12
"""Floating-point operations a second of an NVIDIA H100 SXM in bfloat16, dense."""
UTILISATION = 0.4
"""Of it that a training is assumed to reach."""
WITHIN_NODE = 450e9
"""Bytes a second that NVLink brings to a GPU."""
BETWEEN_NODES = 50e9
"""The same of a network adapter of 400 Gbit/s for each GPU."""
GIGA = 1e9


@dataclass(frozen=True)
class Setup:
    """
    A recipe on some GPUs.

    Attributes:
        recipe: its name.
        text_config: of its base LLM.
        num_nodes: of 8 GPUs each.
    """

    recipe: str
    text_config: PreTrainedConfig
    num_nodes: int
    gpus_per_node: int = 8

    @property
    def num_gpus(self) -> int:
        return self.num_nodes * self.gpus_per_node


SETUPS = (
    Setup("qwen2.5-7b-8gpu", Qwen2Config(**QWEN_2_5_7B), 1),
    Setup("llama-70b-4x8gpu", LlamaConfig(**LLAMA_3_70B), 4),
)


@dataclass(frozen=True)
class Computed:
    """What was computed of a setup."""

    setup: Setup
    whole: TrainingPlan
    sharded: TrainingPlan
    rows: StepRows
    cost: StepCost

    @property
    def num_trained(self) -> int:
        return self.sharded.num_trained_parameters + self.sharded.num_head_parameters

    @property
    def memory(self) -> dict[str, int]:
        """Bytes in one GPU, by kind."""
        copies = 2 * self.num_trained  # autocast keeps the trained weights in bfloat16 during a pass
        return {
            **self.sharded.memory_bytes,
            "trained weights in bfloat16": copies,
            "activations": self.cost.activation_bytes,
        }

    @property
    def whole_memory(self) -> int:
        """Bytes in one GPU that holds the base LLM whole."""
        of_base = self.sharded.memory_bytes.keys() - self.whole.memory_bytes.keys()
        shared = sum(num_bytes for kind, num_bytes in self.memory.items() if kind not in of_base)
        return shared + self.whole.memory_bytes["base model"]

    @property
    def seconds(self) -> dict[str, float]:
        """Of a step, by what takes them; computing and sending overlap, more or less."""
        shards = self.setup.gpus_per_node
        received = (shards - 1) / shards
        reduced = 2 * 4 * self.num_trained  # an all-reduce sends each value twice, in float32
        link = WITHIN_NODE if self.setup.num_nodes == 1 else BETWEEN_NODES
        return {
            "operations": sum(self.cost.operations.values()) / (PEAK * UTILISATION),
            "gathering layers, forward and backward": 2 * received * self.sharded.gathered_bytes / WITHIN_NODE,
            "averaging gradients": reduced / link,
        }


def compute(setup: Setup) -> Computed:
    # Without the GPUs that the recipe is for: nothing of this reads them.
    recipe = load_recipe(setup.recipe, ["training.use_cpu=true", "training.bf16=false"])
    arguments = training_arguments(recipe)
    configs = setup.text_config, whisper_config(WHISPER_LARGE_V3)
    whole, sharded = (plan_training(recipe, arguments, *configs, num_shards=n) for n in (1, setup.gpus_per_node))
    rows = StepRows(arguments.per_device_train_batch_size)
    cost = count_step(sharded.student, sharded.heads, sharded.encoder, rows, bool(arguments.gradient_checkpointing))
    return Computed(setup, whole, sharded, rows, cost)


def markdown(computed: list[Computed]) -> str:
    """The table, one column a setup."""
    lines: list[tuple[str, list[Any]]] = []

    def line(name: str, cells: list[Any]) -> None:
        lines.append((name, cells))

    line("recipe", [f"`{each.setup.recipe}`" for each in computed])
    line("GPUs", [f"{each.setup.num_nodes} x {each.setup.gpus_per_node}" for each in computed])
    plans = [each.sharded for each in computed]
    line("base LLM, frozen, 10⁹ parameters", [f"{plan.num_base_parameters / GIGA:.2f}" for plan in plans])
    line("trained: student, 10⁹ parameters", [f"{plan.num_trained_parameters / GIGA:.3f}" for plan in plans])
    line("trained: distillation heads, 10⁹ parameters", [f"{plan.num_head_parameters / GIGA:.3f}" for plan in plans])
    for kind in computed[0].memory:
        line(f"{kind}, GB", [f"{each.memory[kind] / GIGA:.1f}" for each in computed])
    line("**memory of a GPU**, GB", [f"**{sum(each.memory.values()) / GIGA:.1f}**" for each in computed])
    line("the same with the base LLM whole, GB", [f"{each.whole_memory / GIGA:.1f}" for each in computed])
    line("rows of a step, all GPUs", [each.rows.count * each.setup.num_gpus for each in computed])
    for part in computed[0].cost.operations:
        line(f"{part}, 10¹² operations", [f"{each.cost.operations[part] / 1e12:.1f}" for each in computed])
    for part in computed[0].seconds:
        line(f"{part}, s", [f"{each.seconds[part]:.2f}" for each in computed])
    line("**a step**, s, if nothing overlaps", [f"**{sum(each.seconds.values()):.2f}**" for each in computed])
    line("10,000 steps, hours", [f"{10_000 * sum(each.seconds.values()) / 3600:.1f}" for each in computed])
    head, *body = [f"| {name} | {' | '.join(map(str, cells))} |" for name, cells in lines]
    return "\n".join([head, "|---|" + "---:|" * len(computed), *body])


def main() -> None:
    print(markdown([compute(setup) for setup in SETUPS]))


if __name__ == "__main__":
    main()
