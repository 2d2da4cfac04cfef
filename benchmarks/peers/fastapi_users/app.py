"""fastapi-users: https://fastapi-users.github.io/fastapi-users/"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from email.message import EmailMessage
from typing import Any
from urllib.parse import urlencode

import aiosmtplib
from fastapi import Depends, FastAPI
from fastapi import Request as HTTPRequest
from fastapi_users import BaseUserManager, FastAPIUsers, IntegerIDMixin, schemas
from fastapi_users.authentication import (
    AuthenticationBackend,
    BearerTransport,
    CookieTransport,
    JWTStrategy,
)
from fastapi_users.db import SQLAlchemyBaseUserTable, SQLAlchemyUserDatabase
from fastapi_users.jwt import generate_jwt
from fastapi_users.password import PasswordHelper
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from benchmarks.filling import fill
from benchmarks.workload import (
    LOGGED_IN,
    PAGE,
    PASSWORD,
    SECRET_KEY,
    SENDER,
    Orders,
    Request,
    Surroundings,
    address,
    post,
    prepare_in_process,
    registrations,
)

surroundings = Surroundings.of_process()
hasher = Argon2Hasher(
    time_cost=surroundings.time_cost, memory_cost=surroundings.memory_cost, parallelism=1
)
engine = create_async_engine(surroundings.database.replace("sqlite://", "sqlite+aiosqlite://"))
sessions = async_sessionmaker(engine, expire_on_commit=False)
queries: ContextVar[list[int] | None] = ContextVar("queries", default=None)


class Base(DeclarativeBase):
    pass


class User(SQLAlchemyBaseUserTable[int], Base):
    id: Mapped[int] = mapped_column(primary_key=True)


class UserRead(schemas.BaseUser[int]):
    pass


class UserCreate(schemas.BaseUserCreate):
    pass


class UserManager(IntegerIDMixin, BaseUserManager[User, int]):
    reset_password_token_secret = SECRET_KEY
    verification_token_secret = SECRET_KEY

    async def validate_password(self, password: str, user: Any) -> None:
        from fastapi_users import InvalidPasswordException

        if len(password) < 8:
            raise InvalidPasswordException("Too short.")

    async def on_after_register(self, user: User, request: HTTPRequest | None = None) -> None:
        await self.request_verify(user, request)

    async def on_after_request_verify(
        self, user: User, token: str, request: HTTPRequest | None = None
    ) -> None:
        await send(user.email, "Confirm your e-mail address", f"{PAGE}?token={token}")

    async def on_after_forgot_password(
        self, user: User, token: str, request: HTTPRequest | None = None
    ) -> None:
        await send(user.email, "Set a new password", f"{PAGE}?token={token}")


async def send(to: str, subject: str, url: str) -> None:
    """It brings no mail: this is a short one, in text and HTML."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = SENDER, to, subject
    message.set_content(f"Please open this link:\n\n{url}\n")
    message.add_alternative(
        f'<p>Please open this link: <a href="{url}">{url}</a></p>', subtype="html"
    )
    if surroundings.mail_port:
        await aiosmtplib.send(
            message, hostname="127.0.0.1", port=surroundings.mail_port, start_tls=False
        )


async def get_session() -> AsyncIterator[AsyncSession]:
    async with sessions() as session:
        yield session


async def get_user_db(session: AsyncSession = Depends(get_session)) -> AsyncIterator[Any]:  # noqa: B008
    yield SQLAlchemyUserDatabase(session, User)


async def get_user_manager(user_db: Any = Depends(get_user_db)) -> AsyncIterator[UserManager]:  # noqa: B008
    yield UserManager(user_db, PasswordHelper(PasswordHash([hasher])))


def get_strategy() -> JWTStrategy[User, int]:
    return JWTStrategy(secret=SECRET_KEY, lifetime_seconds=14 * 86400)


cookie = AuthenticationBackend("cookie", CookieTransport(cookie_secure=False), get_strategy)
bearer = AuthenticationBackend("bearer", BearerTransport("auth/bearer/login"), get_strategy)
users = FastAPIUsers[User, int](get_user_manager, [cookie, bearer])


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)
app.include_router(users.get_register_router(UserRead, UserCreate), prefix="/auth")
app.include_router(users.get_verify_router(UserRead), prefix="/auth")
app.include_router(users.get_reset_password_router(), prefix="/auth")
app.include_router(users.get_auth_router(cookie, requires_verification=True), prefix="/auth/cookie")
app.include_router(users.get_auth_router(bearer, requires_verification=True), prefix="/auth/bearer")
app.include_router(users.get_users_router(UserRead, schemas.BaseUserUpdate), prefix="/users")

if surroundings.count_queries:

    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def count(*_: Any) -> None:
        counter = queries.get()
        if counter is not None:
            counter[0] += 1

    @app.middleware("http")
    async def tell(request: HTTPRequest, call_next: Any) -> Any:
        counter = [0]
        queries.set(counter)
        response = await call_next(request)
        response.headers["X-Queries"] = str(counter[0])
        return response


async def create_tables() -> None:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    await engine.dispose()


def fill_users(orders: Orders) -> None:
    """The tables, and the verified and the pending accounts."""
    asyncio.run(create_tables())
    password = hasher.hash(PASSWORD)
    sqlite = surroundings.database.startswith("sqlite")
    yes, no = (1, 0) if sqlite else (True, False)
    columns = ["id", "email", "hashed_password", "is_active", "is_superuser", "is_verified"]

    def rows() -> Iterator[Sequence[Any]]:
        for number in range(1, orders.users + orders.pending + 1):
            yield number, address(number), password, yes, no, yes if number <= orders.users else no

    fill(surroundings.database, "user", columns, rows())


def link(number: int) -> str:
    """The token that a pending account got by mail."""
    data = {
        "sub": str(number),
        "email": address(number),
        "aud": UserManager.verification_token_audience,
    }
    return generate_jwt(data, SECRET_KEY, UserManager.verification_token_lifetime_seconds)


def form(path: str, fields: dict[str, str], status: int) -> Request:
    return Request(
        "POST",
        path,
        status,
        urlencode(fields),
        {"Content-Type": "application/x-www-form-urlencoded"},
    )


def prepare(orders: Orders) -> dict[str, list[Request]]:
    """Fill the tables; the requests to be made. It has no usernames; its session is a JWT in a
    cookie."""
    fill_users(orders)
    counts = orders.counts
    links = [link(number) for number in orders.verifying() or [orders.users + 1]]
    forged = links[0].rpartition(".")[0] + "." + "A" * 43
    wrong = {"username": "a b", "email": "nobody", "password": "short", "password_confirm": "shirt"}
    signed = [
        generate_jwt({"sub": str(number), "aud": ["fastapi-users:auth"]}, SECRET_KEY, 14 * 86400)
        for number in range(1, min(LOGGED_IN, orders.users) + 1)
    ]
    return {
        "register": registrations("/auth/register", counts["register"], confirm=None),
        "bad-input": [post("/auth/register", wrong, 422) for _ in range(counts["bad-input"])],
        "verify": [post("/auth/verify", {"token": each}) for each in links[: counts["verify"]]],
        "forged-link": [
            post("/auth/verify", {"token": forged}, 400) for _ in range(counts["forged-link"])
        ],
        "resend": [
            post("/auth/request-verify-token", {"email": address(number)}, 202)
            for number in orders.asking_again()
        ],
        "login": [
            form("/auth/cookie/login", {"username": address(number), "password": PASSWORD}, 204)
            for number in orders.verified("login")
        ],
        "profile-session": [
            Request(
                "GET",
                "/users/me",
                200,
                "",
                {"Cookie": f"fastapiusersauth={signed[number % len(signed)]}"},
            )
            for number in range(counts["profile-session"])
        ],
        "profile-token": [
            Request(
                "GET",
                "/users/me",
                200,
                "",
                {"Authorization": f"Bearer {signed[number % len(signed)]}"},
            )
            for number in range(counts["profile-token"])
        ],
        "reset-link": [
            post("/auth/forgot-password", {"email": address(number)}, 202)
            for number in orders.verified("reset-link")
        ],
    }


if __name__ == "__main__":
    prepare_in_process(prepare)
