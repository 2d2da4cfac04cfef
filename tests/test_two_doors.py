"""Two applications in one process: an open one with a gate, one by invitation and approval."""

from __future__ import annotations

from flask_registration import DEFAULT_FLOWS, gate
from flask_registration.flows import approval, invitations, sign_up
from flask_registration.gate import ProofOfWork

from .flows.common import NewSite, log_in
from .flows.test_approval import BOSS, WAITING, decide, define_user
from .flows.test_invitations import accept, define_invitation
from .people import account, knows
from .site import PASSWORD
from .test_gate import solved

CHOSEN = {"username": "grace", "password": PASSWORD, "password_confirm": PASSWORD}


def test_an_open_application_and_one_by_invitation_and_approval_share_nothing(
    new_site: NewSite,
) -> None:
    opened = new_site(
        flows=[*DEFAULT_FLOWS, sign_up.flow, gate.flow], GATE=ProofOfWork(cost=1, tries=2)
    )
    closed = new_site(
        flows=[*DEFAULT_FLOWS, invitations.flow, approval.flow],
        define=define_user,
        other_models=[define_invitation],
        APPROVERS=[BOSS],
        MAY_INVITE=lambda user, data: True,
        REGISTER_FLOW_ENABLED=False,
    )
    account(closed)
    closed.change(closed.user(), approved_at=closed.user().date_joined)

    # Each has only its own doors.
    address = {"email": "grace@example.com"}
    assert opened.post("invitations", address).status_code == 404
    assert closed.post("sign-up", address).status_code == 404
    assert closed.app.test_client().get("/accounts/challenge/").status_code == 404

    # A client of the open one works for the e-mail, and comes in at once.
    assert opened.post("sign-up", address).get_json()["code"] == "captcha-required"
    assert opened.post("sign-up", {**address, "captcha": solved(opened)}).status_code == 200
    client, finished = opened.app.test_client(), {**opened.link(), **CHOSEN}
    assert opened.post("finish-sign-up", finished, client=client).status_code == 201
    assert knows(opened, client)

    # The other one asks nobody for work, and lets an invited user in after the approval.
    assert closed.post("invitations", address, client=log_in(closed)).status_code == 201
    assert accept(closed, closed.link()).get_json() == WAITING
    assert [mail.recipients for mail in closed.outbox][-1] == [BOSS]
    assert decide(closed, closed.link()).status_code == 200
    assert knows(closed, log_in(closed, "grace"))
    assert [user.username for user in opened.users()] == ["grace"]
