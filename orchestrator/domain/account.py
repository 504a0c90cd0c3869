"""Account problems that only a person can fix, and what to tell that person.

Source of the codes and texts: the SDK's error classes (2.12) and the Message Batches API reference. The docs advise
against matching messages; the two limits that a user sets come back as plain 400s without a code, so for those the
beginning of the message is all there is.
"""

from __future__ import annotations

from shlex import quote
from types import MappingProxyType
from typing import Final

CREDENTIALS: Final = "credentials"
PERMISSION: Final = "permission"
BILLING: Final = "billing"
SPEND_LIMIT: Final = "spend_limit"
ON_HOLD: Final = "on_hold"
ENDPOINT: Final = "endpoint"
#: Not the API's word but ours: another account's key is in use, or a person stopped a batch, or a 400 names nobody.
OTHER_ACCOUNT: Final = "other_account"
CANCELED_ELSEWHERE: Final = "canceled_elsewhere"
REFUSED: Final = "refused"
BY_USER: Final = "by_user"
#: A cap on what may be spent: it is reached, or what would be sent has no known bound.
BUDGET: Final = "budget"
UNKNOWN_PRICE: Final = "unknown_price"
#: Answers that do not say what they cost, whatever the prices.
UNKNOWN_COST: Final = "unknown_cost"
NO_BOUND: Final = "no_bound"
#: The requests that went first have ended, and a person is to look at them.
PILOT: Final = "pilot"
#: The same where no more than these was asked for.
TRIAL: Final = "trial"

#: Pauses by a cap: nothing is wrong with the account.
BY_A_CAP: Final = frozenset({BUDGET, UNKNOWN_PRICE, UNKNOWN_COST, NO_BOUND})

#: What to do, for each code that a job can be paused with.
REMEDIES: Final = MappingProxyType(
    {
        CREDENTIALS: "set a valid ANTHROPIC_API_KEY (or ANTHROPIC_AUTH_TOKEN) and start again, or put a valid key into "
        "the file of [api] key_file, which is read again; then resume the job",
        PERMISSION: "give the key access to this workspace and to the Message Batches API, then resume the job",
        BILLING: "add credit or fix the payment method in the Console, then resume the job",
        SPEND_LIMIT: "raise the spend limit in the Console or wait until it renews, then resume the job",
        ON_HOLD: "the organization is on hold: contact Anthropic support, then resume the job",
        ENDPOINT: "check ANTHROPIC_BASE_URL: the server there has no Message Batches API; then resume the job",
        OTHER_ACCOUNT: "use a key of the account that the batches were sent with, then resume the job",
        CANCELED_ELSEWHERE: "a batch was canceled outside of this program; resume the job to send its requests again",
        REFUSED: "the API refuses every part of the batch with the same words; fix the cause, then resume the job",
        BY_USER: "resume the job to go on",
        BUDGET: "raise it, and the job goes on",
        UNKNOWN_PRICE: "put the price of the model into prices.toml ([prices] file), then resume the job",
        UNKNOWN_COST: "look at the answers; resume the job to go on: the most that they can have cost stays reserved",
        PILOT: "resume the job to send the others",
        TRIAL: "resume the job to send the rest",
        NO_BOUND: "send it without a cap, or allow an amount for each such request (--allow-per-request)",
    }
)

#: Pauses that end by themselves when the account works again; the others end only when a person resumes the job.
ENDS_BY_ITSELF: Final = frozenset({CREDENTIALS, PERMISSION, BILLING, SPEND_LIMIT, ON_HOLD, ENDPOINT})

#: Pauses that need another key: such a job is not resumed while the key file cannot be used.
NEEDS_ANOTHER_KEY: Final = frozenset({CREDENTIALS, PERMISSION, OTHER_ACCOUNT})


def asking_price(model: str) -> str:
    """The command that says how *model*, a name from an input, gets a price."""
    return f"orchestrator prices {quote(model)}"


def probe_gate(code: str) -> str:
    """The name of the gate that says when the API is asked again for jobs that are paused with *code*."""
    return f"probe.{code}"


#: The API's own codes inside `error.details.error_code`, and what they mean here.
_CODES: Final = MappingProxyType(
    {
        "enforced_spend_limit_reached": SPEND_LIMIT,
        "contract_spend_limit_reached": SPEND_LIMIT,
        "linked_organization_spend_limit_reached": SPEND_LIMIT,
        "linked_organization_billing_unavailable": BILLING,
        "organization_on_hold": ON_HOLD,
        "claude_code_key_creator_not_member": PERMISSION,
        "cmek_key_disabled": PERMISSION,
    }
)
_STATUSES: Final = MappingProxyType({401: CREDENTIALS, 402: BILLING, 403: PERMISSION})


def blocked_by(status: int, error_code: str | None, message: str) -> str | None:
    """The code of the account problem that an HTTP error response means; None: it means something else."""
    if error_code is not None and error_code in _CODES:
        return _CODES[error_code]
    if status in _STATUSES:
        return _STATUSES[status]
    if status == 400:
        return blocked_message(message)
    return None


def blocked_message(message: str) -> str | None:
    """As `blocked_by`, for a message alone: empty credit also arrives in the results, row by row."""
    text = message.lower()
    if text.startswith("your credit balance is too low"):
        return BILLING
    if text.startswith("you have reached your specified") and "usage limit" in text:
        return SPEND_LIMIT
    return None
