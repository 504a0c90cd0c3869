"""F4, M6: the variables of proxies and certificates are looked at before a library does, and are never shown."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import certifi
import pytest

from orchestrator.config.network import check_certificates, check_exporter, check_proxies, client_options, is_direct
from orchestrator.domain.errors import UsageError

API = "https://api.example.com"
PROXIES = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"]
BAD_PROXIES = [
    "ftp://s3cr3t",
    "socks4://s3cr3t:1",
    "http://s3cr3t:abc",
    "http://user:s3cr3t#x@127.0.0.1:9",
    "http://user:s3cr3t/x@127.0.0.1:9",
    "http://user:12/s3cr3t@127.0.0.1:9",
    "http://user:12?s3cr3t@127.0.0.1:9",
    "user:s3cr3t#x@127.0.0.1:9",
    "http://[s3cr3t",
    "http://s3cr3t:99999",
    "http://s3cr3t:0",
    "http:///s3cr3t",
    "://s3cr3t",
    "http://s3cr3t proxy:1",
    "http://s3cr3té:1",
    "http://256.1.1.1:9",
    "http://[v1.s3cr3t]:9",
    "http://s3cr3t..x:9",
]


def refusal(environ: Mapping[str, str], url: str = API) -> str:
    """What is said of it; never a value."""
    with pytest.raises(UsageError) as caught:
        client_options(url, environ)
    said = f"{caught.value.message} {caught.value.cause} {caught.value.hint}"
    assert caught.value.exit_code == 2
    assert caught.value.hint is not None
    assert "s3cr3t" not in f"{said} {caught.value.__context__!r} {caught.value.__cause__!r}"
    return said


@pytest.mark.parametrize("name", PROXIES)
@pytest.mark.parametrize("value", BAD_PROXIES)
def test_a_proxy_that_cannot_be_used_is_refused_by_the_name_of_its_variable(name: str, value: str) -> None:
    """F4: the library's own words quote the value, a password in it as well."""
    assert name in refusal({name: value})


@pytest.mark.parametrize("name", PROXIES)
@pytest.mark.skipif(find_spec("socksio") is not None, reason="the extra is installed")
@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_a_socks_proxy_without_its_package_names_the_extra(name: str, scheme: str) -> None:
    """F4: it was called a bug of ours."""
    said = refusal({name: f"{scheme}://user:s3cr3t@127.0.0.1:9"})
    assert f"variable {name}" in said
    assert "pip install 'batch-orchestrator[socks]'" in said


@pytest.mark.parametrize("value", ["http://p:3128", "http://u:p%23w@p:3128/", "https://p", "p:3128", "[::1]:3128", ""])
def test_a_proxy_that_can_be_used_is_left_to_the_library(value: str) -> None:
    """F4: those forms that it takes."""
    for name in PROXIES:
        check_proxies({name: value})
    assert client_options(API, {"HTTPS_PROXY": value}) == {"trust_env": True}


def test_the_variable_in_lower_case_is_the_one_that_counts() -> None:
    """F4: as the library reads them; an empty one hides the other."""
    assert "http_proxy" in refusal({"HTTP_PROXY": "http://good:1", "http_proxy": "ftp://s3cr3t"})
    check_proxies({"HTTP_PROXY": "ftp://s3cr3t", "http_proxy": ""})


@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
@pytest.mark.parametrize("entry", ["[::1]", "fe80::/10", "http://[s3cr3t", "s3cr3t:abc", "a s3cr3t", "u:s3cr3t@h"])
def test_an_entry_of_no_proxy_that_ends_the_library_is_refused_by_its_place(name: str, entry: str) -> None:
    """F4: where there is a proxy; without one nobody reads it."""
    said = refusal({name: f"localhost, {entry}", "HTTPS_PROXY": "http://p:1"})
    assert name in said
    assert "entry 2" in said
    check_proxies({name: entry})


def test_what_no_proxy_usually_holds_is_taken() -> None:
    """F4: names, domains, addresses, IPv4 networks, ports."""
    usual = "localhost,127.0.0.1,::1,10.0.0.0/8,.example.com,*.example.org,example.net:8080,http://a.example, ,*"
    check_proxies({"NO_PROXY": usual, "HTTPS_PROXY": "http://p:1"})


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"])
@pytest.mark.parametrize("kind", ["missing", "empty", "folder", "device", "text"])
def test_certificates_that_cannot_be_read_are_refused_by_the_name_of_their_variable(
    tmp_path: Path, name: str, kind: str
) -> None:
    """F4: exit 2, not a bug of ours; a file that is right for one variable may be wrong for another."""
    places = {
        "missing": tmp_path / "s3cr3t" / "gone",
        "empty": tmp_path / "s3cr3t.pem",
        "folder": tmp_path / "s3cr3t.d",
        "device": Path("/dev/null"),
        "text": tmp_path / "s3cr3t.txt",
    }
    places["empty"].touch()
    places["folder"].mkdir()
    places["text"].write_text("-----BEGIN CERTIFICATE-----\ns3cr3t\n")
    if (name, kind) in {("SSL_CERT_DIR", "folder"), ("SSLKEYLOGFILE", "empty"), ("SSLKEYLOGFILE", "text")}:
        check_certificates({name: str(places[kind])})
    else:
        assert name in refusal({name: str(places[kind])})


def test_certificates_that_can_be_read_are_taken(tmp_path: Path) -> None:
    """F4: also where the API is on this machine behind TLS."""
    environ = {"SSL_CERT_FILE": certifi.where(), "SSL_CERT_DIR": f"/gone:{tmp_path}", "SSLKEYLOGFILE": ""}
    assert client_options(API, environ) == {"trust_env": True}
    assert client_options("https://localhost:1", environ)["trust_env"] is False


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_what_carries_traces_is_looked_at_too(tmp_path: Path, name: str) -> None:
    """F4: its errors would come from a thread, hours later. On this machine no proxy is asked (M6)."""
    with pytest.raises(UsageError, match=name):
        check_exporter({name: str(tmp_path / "gone")})
    assert check_exporter({name: certifi.where(), "HTTP_PROXY": "ftp://x"})
    far = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.example:4318"}
    assert not check_exporter(far)
    with pytest.raises(UsageError, match="HTTP_PROXY"):
        check_exporter({**far, "HTTP_PROXY": "ftp://x"})


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"])
@pytest.mark.parametrize(
    "value",
    [
        "http://user:s3cr3t@collector:4318",
        "s3cr3t@collector:4318",
        "collector:4318",
        "grpc://s3cr3t:4317",
        "http://[s3cr3t",
        "http://s3cr3t:abc",
        "http://s3cr3t:0",
        "http:///s3cr3t",
        "http://s3cr3t x",
    ],
)
def test_an_endpoint_for_traces_that_cannot_be_used_is_refused_by_its_variable(name: str, value: str) -> None:
    """F4: it ended the daemon as a bug of ours, or the exporter logged it with the password."""
    with pytest.raises(UsageError, match=f"variable {name} cannot be used") as caught:
        check_exporter({name: value})
    assert caught.value.hint is not None
    assert "s3cr3t" not in f"{caught.value.message} {caught.value.cause} {caught.value.hint} {caught.value.__cause__!r}"


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"])
@pytest.mark.parametrize("entry", ["s3cr3t", "=s3cr3t", "a b=s3cr3t", "a=s3cr3t%0Ab", "a=s3cr3té", "a%0Ab=s3cr3t"])
def test_a_header_for_the_collector_that_cannot_be_sent_is_refused_by_its_place(name: str, entry: str) -> None:
    """F4: the exporter logs what it cannot read."""
    with pytest.raises(UsageError, match=name) as caught:
        check_exporter({name: f"api-key=x,{entry}"})
    assert "entry 2" in str(caught.value.cause)
    assert "s3cr3t" not in f"{caught.value.message} {caught.value.cause} {caught.value.hint}"
    assert check_exporter({name: "authorization=Basic%20YTpi, x-team = blue ,"})


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "[::1]", "LOCALHOST"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_variable_brings_a_proxy_between_us_and_this_machine(host: str, scheme: str) -> None:
    """M6: a proxy that is not used is not looked at either."""
    environ = dict.fromkeys([*PROXIES, "NO_PROXY"], "ftp://x")
    assert client_options(f"{scheme}://{host}:8080", environ)["trust_env"] is False
    assert is_direct(f"{scheme}://{host}:8080")


def test_what_goes_in_clear_text_is_not_for_a_proxy() -> None:
    """M6, F23: a gateway without TLS is one of your own network."""
    options = client_options("http://litellm:4000", {"HTTP_PROXY": "http://p:1"})
    assert options["trust_env"] is False
    assert options["verify"].verify_mode is ssl.CERT_REQUIRED  # an https address that it was led to is refused
    assert options["verify"].get_ca_certs() == []
    assert not is_direct(API)
