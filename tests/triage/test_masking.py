from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triage.masking import mask

SECRET = "s3cr3tV4lue"  # noqa: S105
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        # headers
        (f"Authorization: Bearer {SECRET}", "Authorization: Bearer ***"),
        (f'"authorization":"Bearer {SECRET}"', '"authorization":"Bearer ***"'),
        (f"(b'authorization', b'Bearer {SECRET}')", "(b'authorization', b'Bearer ***')"),
        (f"authorization=Basic {SECRET}== level=info", "authorization=Basic *** level=info"),
        (f"Proxy-Authorization: Basic {SECRET}\nA: b", "Proxy-Authorization: Basic ***\nA: b"),
        (f"X-Api-Key: {SECRET}", "X-Api-Key: ***"),
        (
            f'Authorization: Digest username="bob", response="{SECRET}", Accept: */*',
            "Authorization: Digest ***, Accept: */*",
        ),
        (f"upstream said Bearer {SECRET} is bad", "upstream said Bearer *** is bad"),
        # cookies
        (f"Cookie: sid={SECRET}; theme=dark\nX: y", "Cookie: sid=***; theme=***\nX: y"),
        (f"Set-Cookie: sid={SECRET}; Path=/; HttpOnly", "Set-Cookie: sid=***; Path=/; HttpOnly"),
        (f'{{"cookie":"sid={SECRET}; x=y","m":1}}', '{"cookie":"sid=***; x=***","m":1}'),
        # URLs
        (f"postgres://app:{SECRET}@db:5432/x", "postgres://app:***@db:5432/x"),
        (f"postgres://app:p@{SECRET}@db/x", "postgres://app:***@db/x"),
        (f"https://{SECRET}@git.example/a", "https://***@git.example/a"),
        (f"redis://:{SECRET}@cache:6379/0", "redis://:***@cache:6379/0"),
        (f"GET /cb?code={SECRET}&state=7 HTTP/1.1", "GET /cb?code=***&state=7 HTTP/1.1"),
        (f"/x?a=1&token={SECRET}&b=2", "/x?a=1&token=***&b=2"),
        (f"/x?X-Amz-Signature={SECRET}&b=2", "/x?X-Amz-Signature=***&b=2"),
        (f"/go?to=%2Fx%3Ftoken%3D{SECRET}%26y%3D1", "/go?to=%2Fx%3Ftoken%3D***%26y%3D1"),
        (
            f"POST https://hooks.slack.com/services/T0/B0/{SECRET} 500",
            "POST https://hooks.slack.com/services/*** 500",
        ),
        # fields
        (f'password="a\\"{SECRET}" x', 'password="***" x'),
        (f'{{"password": "{SECRET}", "user": "bob"}}', '{"password": "***", "user": "bob"}'),
        (f'{{\\"db_passwd\\":\\"{SECRET}\\",\\"u\\":1}}', '{\\"db_passwd\\":\\"***\\",\\"u\\":1}'),
        (f"{{'client_secret': '{SECRET}'}}", "{'client_secret': '***'}"),
        (f"Settings(password={SECRET}, user=bob)", "Settings(password=***, user=bob)"),
        (f"{{user=bob,password={SECRET},host=x}}", "{user=bob,password=***,host=x}"),
        (f"password=a,{SECRET}", "password=***"),
        (f"level=info accessToken={SECRET} msg=x", "level=info accessToken=*** msg=x"),
        (f"AWS_SECRET_ACCESS_KEY={SECRET}", "AWS_SECRET_ACCESS_KEY=***"),
        (f"PGPASSWORD={SECRET} psql", "PGPASSWORD=*** psql"),
        (f"AccountKey={SECRET};EndpointSuffix=x", "AccountKey=***;EndpointSuffix=x"),
        (f"snmp community = {SECRET}", "snmp community = ***"),
        (f"<password>{SECRET}</password>", "<password>***</password>"),
        ('"token": 123456, "n": 1', '"token": ***, "n": 1'),
        (f'{{:password=>"{SECRET}"}}', '{:password=>"***"}'),
        (f'token="{SECRET}', 'token="***'),
        # command lines
        (f"tool --password {SECRET} -v", "tool --password *** -v"),
        (f"curl -u root:{SECRET} http://x", "curl -u root:*** http://x"),
        (f"CREATE USER a IDENTIFIED BY '{SECRET}'", "CREATE USER a IDENTIFIED BY '***'"),
        # by their form
        (f"got {JWT} from", "got *** from"),
        ("id AKIAIOSFODNN7EXAMPLE used", "id *** used"),
        ("ghp_abcdefghijklmnopqrstuvwxyz0123456789 bad", "*** bad"),
        ("xoxb-123456789012-abcdefABCDEF", "***"),
        ("key AIzaSyA-1234567890abcdefghijklmnopqrstu", "key ***"),
        ("encryption_key=9f86d081884c7d659a2feaa0c55ad015", "encryption_key=***"),
        ("cache key: 9f86d081884c7d659a2feaa0c55ad015", "cache key: ***"),
        (
            "-----BEGIN EC PRIVATE KEY-----\nMHcCAQ\nabc=\n-----END EC PRIVATE KEY-----\nrest",
            "-----BEGIN EC PRIVATE KEY-----***-----END EC PRIVATE KEY-----\nrest",
        ),
        ("-----BEGIN PRIVATE KEY-----\nMIIE", "-----BEGIN PRIVATE KEY-----***"),
        ("MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj", "***"),
    ],
)
def test_secrets_go_and_their_names_stay(text: str, shown: str) -> None:
    assert mask(text) == shown
    assert mask(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        (
            '[2026-01-02T03:04:05.678Z] "GET /health?x=1 HTTP/1.1" 503 UF'
            " upstream_reset_before_response_started{remote_connection_failure|"
            'delayed_connect_error:_Connection_refused} - "-" 0 91 0 - "-"'
            ' "Blackbox Exporter/0.24.0"'
            ' "2f1b6a5e-9c2b-4e0f-8a55-0123456789ab" "front.example:8080" "10.0.0.1:8000"'
            " inbound|8000|| - 10.0.0.1:8000 10.0.0.9:41112 - default"
        ),
        "x-request-id: 2f1b6a5e-9c2b-4e0f-8a55-0123456789ab",
        "idempotency_key=2f1b6a5e-9c2b-4e0f-8a55-0123456789ab",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "Basic authentication failed",
        'WWW-Authenticate: Bearer realm="x"',
        "max_tokens=512 tokens: 5 token_type=bearer",
        'MountVolume.SetUp failed for volume "certs" : secret "front-tls" not found',
        "secretName: front-tls",
        "Unexpected token < in JSON at position 0",
        "code=503 status, exit code: 137",
        "author=bob authority=front.example",
        "http://host:80/path?email=a@b.example",
        "sha256:9f86d081884c7d659a2feaa0c55ad0159f86d081884c7d659a2feaa0c55ad015",
        "2001:db8::1 fe80::1%eth0 198.51.100.7:8080",
        "key=user:1234 primary_key=7",
        "password: ",
        "password=null token=None",
        "VM-MIB::vmOperState.3 = INTEGER: paused(8)",
        "Traceback (most recent call last):",
        "liveness probe failed: Get http://198.51.100.3:8000/livez: connection refused",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert mask(text) == text


_PIECES = """
    password token secret api_key key= : = => " ' \\ , ; & ? ( ) { } [ ] < > @ // :// / % %3D %26
    Bearer Basic Cookie Set-Cookie: Authorization: Digest eyJabcdefgh . - -- -u a b1 *** -----BEGIN
    PRIVATE KEY----- -----END 12345678 ghp_abcdefghijklmnopqrstuv AKIA x=y path= http u:p@h null
    hooks.slack.com/services/ identified by <password> session_id \u017f \u0130 \u00e9
"""
PIECES = st.sampled_from([*_PIECES.split(), " ", "\n", "\t", "\\"])
TEXTS = st.one_of(st.text(max_size=80), st.lists(PIECES, max_size=25).map("".join))


@settings(max_examples=600, deadline=None)
@given(TEXTS)
def test_masked_text_comes_back_as_it_is(text: str) -> None:
    once = mask(text)
    assert mask(once) == once


@settings(max_examples=300, deadline=None)
@given(TEXTS, TEXTS, st.sampled_from(["password=", "&token=", "api_key: ", '"secret": "']))
def test_a_secret_is_found_whatever_stands_around_it(before: str, after: str, name: str) -> None:
    value = "Q7x9Zp2mLk4T"
    if before.endswith("\\"):  # an escape is another name
        before += " "
    assert value not in mask(f"{before} {name}{value} {after}")


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz 0123456789.", max_size=60))
def test_words_and_numbers_without_names_stay(text: str) -> None:
    if not any(word in text for word in ("sg", "hv", "ya29", "basic", "bearer")):
        assert mask(text) == text


_HOSTILE = """
    a token token= password=" " \\ \\" eyJ eyJ. key= : :// ://a ://: @ -- - < <token> %3D & ? = 1 1:
    cookie: cookie:a=b; Authorization: authorization:Bearer basic bearer: set-cookie:a=b;path [ ( ,
    -----BEGIN ---- ; sk- :AA 0 A AKIA glpat- ' x-api-key', password=\\ {{ {a= ,a
"""
HOSTILE = [*_HOSTILE.split(), "-----BEGIN PRIVATE KEY-----", " -u a:", "A: a=1, ", "basic ", " "]


@pytest.mark.timeout(60)  # the whole takes about a second; what is quadratic takes minutes
@pytest.mark.parametrize("start", ["", "password=", 'token="', "cookie: a=", "://", "eyJ"])
def test_hostile_text_takes_linear_time(start: str) -> None:
    for piece in HOSTILE:
        once = mask(start + piece * (60_000 // len(piece)))
        assert once[:3] == mask(once)[:3]
