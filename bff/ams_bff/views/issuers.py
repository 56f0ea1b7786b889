"""Signing in with an OpenID Connect issuer: the browser's part. identity-svc says where to go, verifies
what comes back, and gives out the session."""

from collections.abc import Sequence

from ams.identity.v1 import identity_service_pb2 as pb
from ams_common.errors import AppError
from starlette.responses import RedirectResponse, Response

from ams_bff.http.routing import page
from ams_bff.http.sessions import Flash
from ams_bff.http.visits import Visit, safe_path
from ams_bff.views.second_factors import signed_in


async def list_issuers(visit: Visit) -> Sequence[pb.SignInIssuer]:
    """Those of the deployment. None when they can't be had: the page still serves who signs in by mail."""
    try:
        answer = await visit.api.identity.ListSignInIssuers()
    except AppError:
        return []
    return answer.issuers


async def start(visit: Visit) -> Response:
    """To the issuer. What must come back is kept for this browser alone, and for each of its tabs."""
    issuer_id = visit.parameter("issuer")
    challenge = await visit.api.identity.StartOidcSignIn(issuer_id=issuer_id)
    dance = {
        "issuer": issuer_id,
        "nonce": challenge.nonce,
        "code_verifier": challenge.code_verifier,
        "next": safe_path(visit.query.get("next")) or "",
    }
    await visit.session.keep_dance(challenge.state, dance)
    return RedirectResponse(challenge.authorization_url, 303)


async def finish(visit: Visit) -> Response:
    """From the issuer, with a code or with its refusal."""
    dance = await visit.session.take_dance(visit.query.get("state", ""))
    if dance is None or dance["issuer"] != visit.parameter("issuer"):
        return await visit.redirect("/login", Flash("That sign-in has expired. Start again.", "plain"))
    if not visit.query.get("code"):
        return await visit.redirect("/login", Flash("You weren't signed in.", "plain"))
    try:
        answer = await visit.api.identity.CompleteOidcSignIn(
            issuer_id=dance["issuer"],
            code=visit.query["code"],
            nonce=dance["nonce"],
            code_verifier=dance["code_verifier"],
            response_issuer=visit.query.get("iss", ""),
        )
    except AppError as error:
        return await visit.redirect("/login", Flash(error.message, "bad"))
    return await signed_in(visit, answer, safe_path(dance["next"]))


VIEWS = (page("/login/with/{issuer}", start), page("/login/with/{issuer}/return", finish))
