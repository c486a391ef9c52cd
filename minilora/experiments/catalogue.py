"""Every experiment, the most telling first: the order in which `minilora reproduce all` runs them."""

from minilora.experiments.engine.experiment import Experiment
from minilora.experiments.tables import (
    counts,
    figure2,
    figure3_4,
    full_rank_limit,
    intrinsic_dimension,
    longer_training,
    lora_vs_full,
    lr_transfer,
    table1,
    table3,
    table4,
    table5,
    table6,
    table7,
    table15,
    table16,
    table18,
    three_tasks,
)

EXPERIMENTS: dict[str, Experiment] = {
    module.EXPERIMENT.name: module.EXPERIMENT
    for module in (
        counts,
        lora_vs_full,
        table6,
        figure3_4,
        table7,
        table5,
        table4,
        figure2,
        table16,
        table15,
        intrinsic_dimension,
        full_rank_limit,
        longer_training,
        table18,
        lr_transfer,
        table3,
        three_tasks,
        table1,
    )
}
