"""The GP's and the peer group's part of one referral, in a language that none of Kith is written in: everything here is
generated from proto/ by grpcio-tools. Called by tests/run with the folder of generated code and the network's demo.json."""

import json
import os
import sys
import time

import grpc

sys.path.insert(0, sys.argv[1])
from kith.v1 import consent_pb2, consent_pb2_grpc, envelope_pb2, person_pb2, person_pb2_grpc  # noqa: E402
from kith.v1 import referral_pb2, referral_pb2_grpc, words_pb2  # noqa: E402

CALL_SECONDS = 10
GP, PEERS = "riverside-gp", "tigrinya-womens-circle"


class Node:
    """One organisation's node, as its own system sees it."""

    def __init__(self, listed: dict):
        channel = grpc.insecure_channel(listed["grpc"])
        self.metadata = (("authorization", "Bearer " + listed["tokens"]["coordinator"]),)
        self.persons = person_pb2_grpc.PersonServiceStub(channel)
        self.consent = consent_pb2_grpc.ConsentServiceStub(channel)
        self.referrals = referral_pb2_grpc.ReferralServiceStub(channel)

    def call(self, method, request):
        return method(request, metadata=self.metadata, timeout=CALL_SECONDS)

    def until(self, thread_id: bytes, state: int) -> referral_pb2.ReferralLine:
        """Follows the node's changes until the thread is in this state."""
        watch = self.referrals.WatchReferrals(
            referral_pb2.WatchReferralsRequest(), metadata=self.metadata, timeout=CALL_SECONDS
        )
        for change in watch:
            if change.referral.thread_id == thread_id and change.referral.state == state:
                watch.cancel()
                return change.referral
        raise AssertionError("the watch ended")

    def move(self, thread_id: bytes, move: int, reason: int = 0):
        request = referral_pb2.MoveReferralRequest(
            request_id=os.urandom(16), thread_id=thread_id, move=move, reason=reason
        )
        return self.call(self.referrals.MoveReferral, request)


def part(category: int, **fields: str) -> envelope_pb2.Part:
    return envelope_pb2.Part(
        category=category, fields=[envelope_pb2.Field(name=n, value=v) for n, v in fields.items()]
    )


def refer(gp: Node) -> referral_pb2.SendReferralResponse:
    """Records a person and their consent, sends the referral twice under one id, and has one referral."""
    name = part(words_pb2.CATEGORY_IDENTITY, preferred_name="ፍረ")
    created = gp.call(
        gp.persons.CreatePerson, person_pb2.CreatePersonRequest(request_id=os.urandom(16), parts=[name])
    )
    statement = gp.call(gp.consent.GetStatement, consent_pb2.GetStatementRequest(language="en")).statement
    grant = gp.call(
        gp.consent.RecordGrant,
        consent_pb2.RecordGrantRequest(
            request_id=os.urandom(16),
            person_id=created.person_id,
            capture=consent_pb2.Capture(
                given_by=consent_pb2.GIVEN_BY_PERSON,
                given_how=consent_pb2.GIVEN_HOW_IN_PERSON,
                language="ti",
                interpreter=consent_pb2.INTERPRETER_PEER,
                read_aloud=True,
                understood="They may know my name.",
                statement_id=statement.statement_id,
                statement_language=statement.language,
                text_hash=statement.text_hash,
            ),
            allowed=[
                consent_pb2.Allowed(
                    recipient=PEERS,
                    categories=[words_pb2.CATEGORY_IDENTITY, words_pb2.CATEGORY_NEED],
                    purposes=[words_pb2.PURPOSE_PEER_SUPPORT],
                    progress=True,
                )
            ],
            lawful_basis=consent_pb2.LAWFUL_BASIS_CONSENT,
        ),
    )
    request = referral_pb2.SendReferralRequest(
        request_id=os.urandom(16),
        person_id=created.person_id,
        grant_id=grant.grant_id,
        recipient=PEERS,
        purpose=words_pb2.PURPOSE_PEER_SUPPORT,
        parts=[part(words_pb2.CATEGORY_NEED, in_their_words="Company on Tuesdays.")],
        categories=[words_pb2.CATEGORY_IDENTITY],
    )
    first = gp.call(gp.referrals.SendReferral, request)
    again = gp.call(gp.referrals.SendReferral, request)
    assert first == again, "a repeat is answered otherwise"
    request.request_id = os.urandom(16)
    request.parts.append(part(words_pb2.CATEGORY_HEALTH, summary="Asthma."))
    try:
        gp.call(gp.referrals.SendReferral, request)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.PERMISSION_DENIED, error
    else:
        raise AssertionError("health was sent without consent")
    return first


def main() -> None:
    with open(sys.argv[2], encoding="utf-8") as file:
        nodes = {node["org"]: Node(node) for node in json.load(file)["nodes"]}
    gp, peers = nodes[GP], nodes[PEERS]
    started = time.monotonic()
    sent = refer(gp)
    peers.until(sent.thread_id, words_pb2.REFERRAL_STATE_RECEIVED)
    opened = peers.call(
        peers.referrals.GetReferral,
        referral_pb2.GetReferralRequest(code=sent.code, opening_reason="to answer it"),
    ).thread
    values = [field.value for each in opened.referral.parts for field in each.fields]
    assert sorted(values) == sorted(["ፍረ", "Company on Tuesdays."]), "other content arrived"
    peers.move(sent.thread_id, words_pb2.REFERRAL_MOVE_ACKNOWLEDGE)
    peers.move(sent.thread_id, words_pb2.REFERRAL_MOVE_ACCEPT)
    peers.move(sent.thread_id, words_pb2.REFERRAL_MOVE_COMPLETE, words_pb2.REASON_HELP_GIVEN)
    line = gp.until(sent.thread_id, words_pb2.REFERRAL_STATE_COMPLETED)
    assert line.code == sent.code
    print(f"a referral from Python: sent, received, accepted and completed in {time.monotonic() - started:.1f} s")


if __name__ == "__main__":
    main()
