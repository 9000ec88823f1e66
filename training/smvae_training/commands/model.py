"""`smvae train`, `smvae export`."""

from __future__ import annotations

import logging
import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from smvae_core.errors import ConfigError
from smvae_datasets.sources import check_place
from smvae_training.cli import quiet_lightning
from smvae_training.commands.arguments import parse, parse_modalities, peek
from smvae_training.commands.evaluate import evaluate
from smvae_training.config import TrainConfig
from smvae_training.presets import PRESETS, preset
from smvae_training.robot_preset import explain, robot
from smvae_training.threads import use_cores

logger = logging.getLogger(__name__)

_FROM_REST = "--objective.targets-from-rest"
DEFAULT_PRESET, ROBOT_PRESET = "vision_touch", "robot"

TRAIN_HELP = """Train a Set Multimodal VAE on episodes or on an image set.

A preset gives every setting; each can be overridden by its flag below. The run folder gets
config.json, weights.safetensors, metrics.jsonl, tensorboard/ and checkpoints/: last.ckpt, and
previous.ckpt in case that is damaged. Ctrl-C finishes the step and writes a checkpoint; --resume
goes on exactly from there, with the run's own settings.

presets:
{presets}

examples:
  smvae train --data episodes --out run                        (the vision_touch preset)
  smvae train --preset mnist                                   (finds its data, runs/mnist)
  smvae train --data episodes --model.modalities vision_touch:64:rgb+force   (two of the four)
  smvae train --preset vision_tasks --data photos --model.modalities
        vision_tasks:64:image+grey+edges+occluded+watermarked  (photos without landmarks: no mask)
  smvae train --preset demo --data episodes --out run --max-steps 500
  smvae train --preset robot --data episodes --out run         (from your sensors; says why)
  smvae train --data episodes --out run --augment.crop 0.05 --augment.holes 0.1
  smvae train --data episodes --out run --optimizer.lr 3e-4 --hardware.precision bf16
  smvae train --data episodes --out run --objective.weights force 10 action 10
  smvae train --data episodes --out run --resume               (after Ctrl-C or a crash)
  torchrun --standalone --nproc-per-node 2 -m smvae_training.cli train --torchrun --data episodes
        --out run                                              (docs/many_machines.md)
  smvae train --data episodes --out run --ray auto --hardware.devices 8
  tensorboard --logdir run                                     (curves while it runs)"""

EXPORT_HELP = """Write the bundle of a run: manifest.json and one ONNX graph per network.

The graphs are compared with torch over all subsets first; a robot needs onnxruntime, not torch.
The novelty score, by which a robot tells that a latent is out of distribution, is calibrated on the
run's held-out records, looked for where training found them. A readout that `smvae readout RUN` has
fitted goes into the bundle too.

examples:
  smvae export run bundle
  smvae export run bundle --data episodes      (where the episodes have moved)
  smvae export run bundle --robot robot.yaml   (another than the episodes')
  smvae export run bundle --int8               (image embeddings partly in 8 bits, for CPUs)"""


@dataclass(frozen=True, kw_only=True)
class TrainArguments:
    """What `smvae train` takes; the description shown is TRAIN_HELP."""

    data: Path | None = None
    """Folder that `smvae episodes` wrote, folder of files in the Vision&Touch layout, or of the
    preset's image set. MNIST and Fashion-MNIST are found or fetched without one."""
    out: Path | None = None
    """Run folder to write; runs/PRESET by default."""
    preset: str = DEFAULT_PRESET
    """Where all other values start from: one of the presets above."""
    resume: bool = False
    """Go on from the checkpoint in --out."""
    overwrite: bool = False
    """Throw away the run that is in --out."""
    report: bool = True
    """Score the trained run on held-out data and write its report, as `smvae evaluate` does."""
    torchrun: bool = False
    """Share each batch with the processes that torchrun started beside this one, here and on other
    machines. One that it starts again goes on from the last checkpoint."""
    ray: str = ""
    """Share each batch among `hardware.devices` workers of a Ray cluster: its address, or 'auto';
    'local' starts one for this run. A worker that is lost is replaced, from the last checkpoint."""
    config: Annotated[TrainConfig, tyro.conf.arg(name="")] = field(default_factory=TrainConfig)


def train(arguments: list[str], prog: str) -> int:
    """Run `smvae train`."""
    config = _starting_config(arguments)
    default = TrainArguments(config=config)
    presets = "\n".join(f"  {name:<13} {_first_line(f.__doc__)}" for name, f in PRESETS.items())
    given = parse(
        TrainArguments,
        arguments,
        prog,
        default=default,
        description=TRAIN_HELP.format(presets=presets),
    )
    from smvae_training.processes import Processes
    from smvae_training.trainer import train as train_run

    _say_without_effect(arguments, given.config)
    if given.torchrun and given.ray:
        raise ConfigError("--torchrun and --ray contradict each other: give one of them")
    here = Processes.started_here(given.config)
    processes = Processes.of_torchrun() if given.torchrun else here
    quiet_lightning()
    use_cores(processes.local_size)
    data = ["--data", str(given.data)] if given.data else []
    out = given.out or default_out(given.preset)
    if given.preset == ROBOT_PRESET and not given.resume:
        _say_plan(given)
    try:
        if given.ray:
            from smvae_training.ray_train import train_on_ray

            run = train_on_ray(
                given.config, given.data, out, given.ray, given.resume, overwrite=given.overwrite
            )
        else:
            run = train_run(
                given.config,
                given.data,
                out,
                given.resume,
                overwrite=given.overwrite,
                processes=processes,
            )
    except KeyboardInterrupt as stop:
        again = shlex.join(["smvae", "train", *data, "--out", str(out), "--resume"])
        raise KeyboardInterrupt(f"resume with: {again}") from stop
    print(f"{run}: finished")
    if processes.is_helper:
        return 0  # a further device of a DDP run; the first one reports
    if not given.report:
        print(f"next: {shlex.join(['smvae', 'evaluate', str(run), *data])}")
        return 0
    return evaluate([str(run), *data], "smvae evaluate")


def _say_without_effect(arguments: list[str], config: TrainConfig) -> None:
    """Warn of a flag that is on by default, and was given where there is nothing for it to do."""
    asked = any(word.replace("_", "-") == _FROM_REST for word in arguments)
    if asked and not (config.data.targets or config.data.self_supervised):
        logger.warning("%s has no effect: no target is decoded, see --data.targets", _FROM_REST)


def _say_plan(given: TrainArguments) -> None:
    """Log what preset `robot` chose, once the data are there."""
    if not given.ray:  # whose workers may see what this machine does not
        check_place(given.config.data.source, given.data)
    for line in explain(given.config):
        logger.info("%s", line)


def default_out(preset_name: str) -> Path:
    """Return the run folder of a preset where none was given."""
    return Path("runs") / preset_name


def _starting_config(arguments: list[str]) -> TrainConfig:
    """Return the run's own settings for a resume, else the preset's."""
    name, out = peek(arguments, "--preset"), peek(arguments, "--out")
    config = _of_preset(name or DEFAULT_PRESET, arguments)
    if "--resume" not in arguments or {"-h", "--help"} & set(arguments):
        return config
    folder = Path(out) if out else default_out(name or DEFAULT_PRESET)
    from smvae_training.run import RunPaths, RunRecord

    return RunRecord.read(RunPaths(folder).config).config


def _of_preset(name: str, arguments: list[str]) -> TrainConfig:
    """Return a preset; that of a robot follows the sensors that are trained on."""
    if name != ROBOT_PRESET:
        return preset(name)
    chosen, data = peek(arguments, "--model.modalities"), peek(arguments, "--data")
    if chosen:
        return robot(parse_modalities(chosen))
    from smvae_datasets.recordings.folder import holds_episodes, read_declaration

    if data is None or not holds_episodes(Path(data)):
        return preset(name)
    declared = read_declaration(Path(data))
    config = robot(declared.modalities)
    held_out = declared.episodes.held_out or config.data.held_out  # 0 says nothing
    return replace(config, data=replace(config.data, held_out=held_out))


def _first_line(docstring: str | None) -> str:
    line = (docstring or "").strip().splitlines()[0]
    return line.removeprefix("Return ")


def export(arguments: list[str], prog: str) -> int:
    """Run `smvae export`."""

    def options(
        run: tyro.conf.Positional[Path],
        bundle: tyro.conf.Positional[Path],
        name: str = "smvae",
        data: Path | None = None,
        robot: Path | None = None,
        int8: bool = False,
    ) -> tuple[Path, Path, str, Path | None, Path | None, bool]:
        """Collect the arguments.

        Args:
            run: Folder written by `smvae train`.
            bundle: Folder to write; a bundle that is there is replaced.
            name: Name of the model, shown by the robot's node.
            data: The data of the run, to calibrate novelty on its held-out part; where training
                found them by default.
            robot: A robot.yaml, whose topics and settings the node then starts with; that of the
                run's episodes by default, where they have one.
            int8: Compute linear layers of image embeddings in 8 bits, on CPUs faster and smaller.
                Refused where held-out records tell that latents or errors change by it.
        """
        return run, bundle, name, data, robot, int8

    run_path, bundle_path, name, data, file, int8 = parse(
        options, arguments, prog, description=EXPORT_HELP
    )
    from smvae_core.robot import read_robot
    from smvae_training.exporting import export_run

    declared = read_robot(file) if file is not None else None
    use_cores()
    print(export_run(run_path, bundle_path, name, data, declared, int8=int8))
    return 0
