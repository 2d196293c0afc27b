"""An operator for Airflow that uploads predictions to Errata and fails if the gate does not pass.

Copy this file to the folder of DAGs, and install errata-client in the environment of Airflow's workers:

    gate = ErrataGateOperator(
        task_id="gate", predictions="/data/predictions.csv", policy="/data/release.yaml",
        baseline="analyses/PRODUCTION", name="{{ params.model }}",
    )

The client reads ERRATA_SERVER, ERRATA_TOKEN, and ERRATA_TLS from the environment.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException
from errata import Analysis, Client, pb
from errata.errors import InvalidInput, NotFound


class ErrataGateOperator(BaseOperator):
    """Uploads predictions and evaluates a gate policy. The result of the task is the name of the analysis.

    Args:
        predictions: Path of the predictions file.
        policy: Path of the gate policy.
        baseline: Analysis that the policy's bounds on changes refer to.
        dataset: The data set.
        name: Display name of the analysis.
        **kwargs: Arguments of all operators.

    Raises:
        AirflowFailException: The decision is not "pass", or the input is invalid. Airflow does not try again, because
            predictions and policy stay the same.
    """

    template_fields: Sequence[str] = ("predictions", "policy", "baseline", "dataset", "name")

    def __init__(
        self,
        *,
        predictions: str,
        policy: str,
        baseline: str = "",
        dataset: str = "imagenet-real",
        name: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.predictions = predictions
        self.policy = policy
        self.baseline = baseline
        self.dataset = dataset
        self.name = name

    def execute(self, context: Any) -> str:
        """Upload the predictions, and return the name of the analysis if the gate passes."""
        try:
            analysis, result = self._evaluate()
        except (InvalidInput, NotFound) as error:
            raise AirflowFailException(str(error)) from error
        if result.decision != pb.GATE_DECISION_PASS:
            decision = pb.GateDecision.Name(result.decision).removeprefix("GATE_DECISION_").lower()
            reasons = (reason.message for reason in result.reasons if reason.decision != pb.GATE_DECISION_PASS)
            raise AirflowFailException(f"Gate of {analysis.name}: {decision}. {' '.join(reasons)}")
        return str(analysis.name)

    def _evaluate(self) -> tuple[Analysis, pb.GateResult]:
        policy = Path(self.policy).read_text(encoding="utf-8")
        with Client() as client:
            if self.baseline:
                client.get(self.baseline)  # before the upload, which a retry of the task repeats
            analysis = client.upload(Path(self.predictions), self.dataset, display_name=self.name)
            return analysis, client.gate(analysis.name, policy, self.baseline)
