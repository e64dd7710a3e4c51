"""Actions: what may be done to an account, what one of them costs and how much of an agent's time it takes."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from .eligibility import Expression

__all__ = ["Action", "Name"]

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,62}$")]
Money = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Action(BaseModel):
    """One entry of the action catalogue.

    Parameters
    ----------
    name : str
        Letters, digits and underscores, as in the decision log.
    channel : str, optional
        The way the customer is contacted; none for an action that contacts nobody.
    tone : str, optional
        Such as ``neutral``, ``soft``, ``firm``.
    skill : str, optional
        What an agent must be able to do for it, such as ``negotiation``; capacity may be limited by skill.
    unit_cost : float, default 0
        Money for each attempt (a text sent, a letter posted, a number dialled).
    attempts : int, default 1
        The most attempts made in a cycle; they end with the first conversation.
    attempt_minutes, talk_minutes : float, default 0
        Agent minutes an attempt takes, and a conversation on top of it.
    stated_reach : float, optional
        Probability that one attempt reaches the customer, used where no contact log taught it.
    stated_complaint_rate : float, default 0
        Probability that the action raises a complaint, used where no decision log taught it.
    commitment_days : int, default 0
        How long an account keeps this action before it is decided again.
    pays_off_after_days : int, default 0
        When its payments have come in; past the log's horizon it needs its own horizon or a surrogate.
    surrogate : str, optional
        The early outcome that stands for the late one, named, where there is one.
    mandatory_when : str, optional
        Condition under which an account must get this action (a legal notice); it takes no part in hold-out or
        exploration.
    description : str, optional
        A sentence for people.

    Examples
    --------
    >>> Action(name="sms", channel="sms", unit_cost=0.03).is_contact
    True
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    channel: Name | None = None
    tone: str | None = Field(default=None, max_length=40)
    skill: Name | None = None
    unit_cost: Money = 0.0
    attempts: int = Field(default=1, ge=1, le=100)
    attempt_minutes: Money = 0.0
    talk_minutes: Money = 0.0
    stated_reach: float | None = Field(default=None, ge=0, le=1)
    stated_complaint_rate: float = Field(default=0.0, ge=0, le=1)
    commitment_days: int = Field(default=0, ge=0, le=3650)
    pays_off_after_days: int = Field(default=0, ge=0, le=3650)
    surrogate: str | None = Field(default=None, max_length=200)
    mandatory_when: str | None = None
    description: str = Field(default="", max_length=500)

    @model_validator(mode="after")
    def _consistent(self) -> Action:
        if self.mandatory_when is not None:
            Expression(self.mandatory_when)
        if self.talk_minutes > 0 and self.channel is None:
            raise ValueError("talk_minutes without a channel: say how the customer is reached")
        return self

    @property
    def is_contact(self) -> bool:
        """Whether the action contacts the customer."""
        return self.channel is not None

    def expected_attempts(self, reach: NDArray[np.float64]) -> NDArray[np.float64]:
        """Work out how many attempts are made when they end with the first that reaches the customer.

        Parameters
        ----------
        reach : ndarray, shape (n,)
            Probability that one attempt reaches the customer.

        Returns
        -------
        ndarray, shape (n,)
            The mean of a geometric count truncated at ``attempts``.

        Examples
        --------
        >>> import numpy as np
        >>> Action(name="call", channel="call", attempts=2).expected_attempts(np.array([0.0, 0.5, 1.0])).tolist()
        [2.0, 1.5, 1.0]
        """
        total = np.zeros_like(reach, dtype=np.float64)
        for k in range(self.attempts):
            total += (1.0 - reach) ** k
        return total

    def conversation_probability(self, reach: NDArray[np.float64]) -> NDArray[np.float64]:
        """Work out the probability that at least one attempt reaches the customer.

        Parameters
        ----------
        reach : ndarray, shape (n,)
            Probability that one attempt reaches the customer.

        Returns
        -------
        ndarray, shape (n,)
        """
        return 1.0 - (1.0 - reach) ** self.attempts
