"""What an audit says: findings with their numbers, and the report that holds them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["ok", "warn", "FAIL", "skip"]


@dataclass(frozen=True)
class Finding:
    """The answer to one question.

    Attributes:
        check: which question, e.g. "sign".
        status: "ok", "warn", "FAIL", or "skip" where it cannot be asked.
        message: the answer in a plain sentence, numbers included.
        numbers: the same numbers by name.
    """

    check: str
    status: Status
    message: str
    numbers: Mapping[str, float] = field(default_factory=dict)

    def to_row(self) -> dict[str, Any]:
        """As JSON."""
        return {"check": self.check, "status": self.status, "message": self.message, "numbers": dict(self.numbers)}


@dataclass(frozen=True)
class Report:
    """All findings about one reward.

    Attributes:
        reward: its expression.
        signature: that of the bound reward.
        where: what it was tried on.
        findings: in the order of the questions.
        exploit: the cheapest bad text that earns more than good ones, as `Exploit.to_row`; None if none was found.
    """

    reward: str
    signature: str
    where: str
    findings: Sequence[Finding]
    exploit: Mapping[str, Any] | None = None

    @property
    def failures(self) -> list[Finding]:
        """The findings that failed."""
        return [finding for finding in self.findings if finding.status == "FAIL"]

    @property
    def passed(self) -> bool:
        """Whether none failed."""
        return not self.failures

    def found(self, check: str) -> list[Finding]:
        """The findings of one question."""
        return [finding for finding in self.findings if finding.check == check]

    def to_row(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "reward": self.reward,
            "signature": self.signature,
            "where": self.where,
            "passed": self.passed,
            "findings": [finding.to_row() for finding in self.findings],
            "exploit": None if self.exploit is None else dict(self.exploit),
        }

    def __str__(self) -> str:
        lines = [f"{finding.status:<5} {finding.check}: {finding.message}" for finding in self.findings]
        failed = len(self.failures)
        return "\n".join([*lines, f"{failed} failure{'s' * (failed != 1)}" if failed else "no failures"])
