"""People at the web UI, without scripts."""

from browser import Browser
from people import People
from world import World


async def sign_in(world: World, people: People, email: str) -> Browser:
    """Somebody who has an account, signed in with the mailed code."""
    browser = Browser(world.system.ports.bff)
    assert browser.post("/login", "/login", email=email).location == "/login/code"
    code = await people.mail.next_code(email)
    assert browser.post("/login/code", "/login/code", code=code).status == 303
    return browser
