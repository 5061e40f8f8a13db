"""Access tokens: RS256 JWTs shaped like Entra's, so that our Batch and Azurite take them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

LIFETIME = timedelta(hours=8)


class Tokens:
    """Mints and checks tokens with one private key, kept in the state folder for this user only."""

    def __init__(self, private_key: rsa.RSAPrivateKey, tenant: str) -> None:
        self._private = private_key
        self._public = private_key.public_key()
        self.tenant = tenant

    @classmethod
    def load(cls, path: Path | None, tenant: str) -> Tokens:
        """With the key at `path`, made there (0600) if there is none; without a path, with a key of this process."""
        if path is not None and path.exists():
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
            assert isinstance(key, rsa.RSAPrivateKey)
            return cls(key, tenant)
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        if path is not None:
            pem = key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            path.touch(mode=0o600)
            path.write_bytes(pem)
        return cls(key, tenant)

    def mint(
        self, audience: str, subject: str, now: datetime, lifetime: timedelta = LIFETIME, *, name: str | None = None
    ) -> str:
        """A token for `audience` (https://storage.azure.com, say) in the name of `subject`; people have a `name`."""
        claims = {
            "aud": audience,
            "iss": f"https://sts.windows.net/{self.tenant}/",
            "iat": now - timedelta(minutes=5),
            "nbf": now - timedelta(minutes=5),
            "exp": now + lifetime,
            "oid": subject,
            "sub": subject,
            "tid": self.tenant,
            "ver": "1.0",
        }
        if name is not None:
            claims |= {"name": name, "preferred_username": name}
        return jwt.encode(claims, self._private, algorithm="RS256")

    def valid(self, token: str, audiences: Sequence[str], now: datetime) -> bool:
        """Whether we minted the token, for one of `audiences`, and it is in force at `now`."""
        return self.subject(token, audiences, now) is not None

    def subject(self, token: str, audiences: Sequence[str], now: datetime) -> str | None:
        """The object id a valid token was made out to; None for one that is not valid."""
        try:
            claims = jwt.decode(
                token,
                self._public,
                algorithms=["RS256"],
                audience=list(audiences),
                issuer=f"https://sts.windows.net/{self.tenant}/",
                options={"verify_exp": False, "verify_nbf": False, "verify_iat": False, "require": ["exp", "nbf"]},
            )
        except jwt.PyJWTError:
            return None
        return str(claims["oid"]) if claims["nbf"] <= now.timestamp() < claims["exp"] else None
