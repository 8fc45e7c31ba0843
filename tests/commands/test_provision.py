from __future__ import annotations

import hashlib
import ipaddress
import stat
import subprocess
import tomllib
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.common.config import parse_config_args
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from commands.main import app
from commands.provisioning import certificates, keys, names, roll, site_file
from commands.provisioning.federation import Federation
from commands.provisioning.names import Address, ProvisionError
from fedmend.errors import SettingsError, UserError


@pytest.fixture(scope="module")
def authority() -> certificates.Pair:
    return certificates.authority(certificates.now())


def _run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, [*words])
    return done.exit_code, " ".join(done.output.split())


def _made(root: Path, *sites: str) -> Federation:
    words = [word for site in sites for word in ("--site", site)]
    code, said = _run("provision", "--out", str(root), "--coordinator", "hub.example", *words)
    assert code == 0, said
    return Federation(root)


def _bytes(root: Path) -> dict[str, str]:
    files = (each for each in root.rglob("*") if each.is_file())
    return {str(e.relative_to(root)): hashlib.sha256(e.read_bytes()).hexdigest() for e in files}


def test_private_keys_and_folders_are_closed(tmp_path: Path) -> None:
    made = _made(tmp_path / "federation", "north", "south")
    private = [each for each in made.root.rglob("*") if each.suffix in {".key", ".secret"}]
    assert len(private) == 3 + 2 * 2
    assert {each.name for each in private} == {
        "ca.key",
        "server.key",
        "site.key",
        "superexec.secret",
    }
    assert {stat.S_IMODE(each.stat().st_mode) for each in private} == {0o600}
    folders = [made.root, *(each for each in made.root.rglob("*") if each.is_dir())]
    assert {stat.S_IMODE(each.stat().st_mode) for each in folders} == {0o700}


def test_each_folder_has_what_it_needs_and_the_ca_key_stays(tmp_path: Path) -> None:
    made = _made(tmp_path / "federation", "north")
    site = {each.name for each in (made.root / "sites" / "north").iterdir()}
    assert site == {
        "site.key", "superexec.secret", "ca.crt", "site.toml", "compose.yml", "compose.gpu.yml",
        "README.md", ".env",
    }  # fmt: skip
    ca_key = (made.ca / "ca.key").read_bytes()
    holders = [
        each for each in made.root.rglob("*") if each.is_file() and ca_key in each.read_bytes()
    ]
    assert holders == [made.ca / "ca.key"]
    page = (made.root / "sites" / "north" / "README.md").read_text()
    [entry] = made.roll().sites
    assert keys.fingerprint(entry.key) in page
    assert "hub.example" in page
    assert "$" not in page


def test_another_site_changes_none_that_are_there(tmp_path: Path) -> None:
    made = _made(tmp_path / "federation", "north")
    before = _bytes(made.root)
    code, _ = _run("provision", "--out", str(made.root), "--site", "south")
    assert code == 0
    after = _bytes(made.root)
    changed = {name for name, digest in before.items() if after[name] != digest}
    assert changed == {"coordinator/federation.json"}
    assert {each.name for each in made.roll().valid()} == {"north", "south"}


@pytest.mark.parametrize("again", ["north", "North"])
def test_a_site_is_never_overwritten(tmp_path: Path, again: str) -> None:
    made = _made(tmp_path / "federation", "north")
    before = _bytes(made.root)
    code, said = _run("provision", "--out", str(made.root), "--site", "west", "--site", again)
    assert code == 2
    assert "provisioned already; nothing was overwritten" in said
    assert _bytes(made.root) == before


def test_revoking_puts_the_files_aside_and_frees_the_name(tmp_path: Path) -> None:
    made = _made(tmp_path / "federation", "north", "south")
    [old] = [each for each in made.roll().valid() if each.name == "north"]
    south = _bytes(made.root / "sites" / "south")
    code, said = _run("revoke", "north", "--out", str(made.root))
    assert code == 0
    assert "fedmend register" in said
    assert not (made.root / "sites" / "north").exists()
    assert not (made.coordinator / "keys" / "north.pub").exists()
    assert (made.root / "revoked" / f"north-{keys.fingerprint(old.key)}" / "site.key").exists()
    assert _bytes(made.root / "sites" / "south") == south
    assert _run("provision", "--out", str(made.root), "--site", "north")[0] == 0
    entries = [each for each in made.roll().sites if each.name == "north"]
    assert [bool(each.revoked) for each in entries] == [True, False]
    assert entries[0].key != entries[1].key


def test_who_is_not_there_cannot_be_revoked(tmp_path: Path) -> None:
    made = _made(tmp_path / "federation", "north")
    code, said = _run("revoke", "east", "--out", str(made.root))
    assert code == 2
    assert "no site east has a valid key; those that have: north" in said
    assert _run("revoke", "east", "--out", str(tmp_path / "nothing"))[0] == 2


def test_renewing_keeps_the_ca_and_the_sites(tmp_path: Path) -> None:
    made = _made(tmp_path / "federation", "north")
    before = _bytes(made.root)
    code, _ = _run(
        "provision", "--out", str(made.root), "--renew",
        "--coordinator", "192.0.2.7", "--coordinator", "hub.example",
    )  # fmt: skip
    assert code == 0
    after = _bytes(made.root)
    changed = {name for name, digest in before.items() if after[name] != digest}
    assert changed == {f"coordinator/{n}" for n in ("server.crt", "server.key", "federation.json")}
    assert made.roll().hosts == ("hub.example", "192.0.2.7")
    certificate = certificates.read(made.coordinator / "server.crt")
    assert certificates.issued_by(certificate, certificates.read(made.ca / "ca.crt"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--coordinator", "other.example", "--site", "west"), "add --renew"),
        (("--coordinator", "other.example", "--renew"), "name it among the hosts"),
        (("--port", "9000", "--site", "west"), "cannot be changed"),
        ((), "name the sites to add"),
        (("--site", "west", "--site", "West"), "named twice"),
        (("--site", "a/b"), "a site's name must be"),
    ],
)
def test_what_cannot_be_done_later_changes_nothing(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    made = _made(tmp_path / "federation", "north")
    before = _bytes(made.root)
    code, output = _run("provision", "--out", str(made.root), *words)
    assert code == 2
    assert said in output
    assert _bytes(made.root) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "a new federation needs --coordinator HOST"),
        (("--renew", "--coordinator", "hub"), "no certificate to renew"),
        (("--coordinator", "https://hub"), "a coordinator is a host name or an IP address"),
        (("--coordinator", "hub", "--port", "0"), "from 1 to 65535"),
        (("--coordinator", "hub", "--site", "-x"), "no dash first or last"),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_is(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    root = tmp_path / "federation"
    code, output = _run("provision", "--out", str(root), *words)
    assert code == 2
    assert said in output
    assert not root.exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    code, said = _run("provision", "--out", str(tmp_path), "--coordinator", "hub")
    assert code == 2
    assert "holds something else" in said
    assert [each.name for each in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_damaged_roll_is_said_to_be_damaged(tmp_path: Path) -> None:
    made = _made(tmp_path / "federation")
    (made.coordinator / roll.FILE).write_text('{"schema": 1, "hosts": ["hub"]')
    with pytest.raises(ProvisionError, match="damaged"):
        made.roll()


@pytest.mark.parametrize("text", ["north", "St-Mary-2", "7", "a" * 32])
def test_names_of_sites(text: str) -> None:
    assert names.site(text) == text


@pytest.mark.parametrize("text", ["", "a" * 33, "north ", "nörd", "a_b", "../x", "-a", "a-", "a\n"])
def test_names_that_no_site_may_have(text: str) -> None:
    with pytest.raises(ProvisionError, match="a site's name"):
        names.site(text)


@pytest.mark.parametrize("text", ["hub", "HUB.example", "a-b.c", "192.0.2.1", "2001:db8::1"])
def test_hosts(text: str) -> None:
    assert names.host(text) == text.lower()


@pytest.mark.parametrize(
    "text", ["", "hub:8443", "http://hub", "a b", "a..b", "-a", "10.0.0.256", "0.0.0.0", "*.x"]
)
def test_hosts_that_are_none(text: str) -> None:
    with pytest.raises(ProvisionError):
        names.host(text)


@given(
    st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6), st.just("hub.example")),
    st.integers(1, 65535),
)
def test_an_address_reads_as_it_was_written(
    host: ipaddress.IPv4Address | ipaddress.IPv6Address | str, port: int
) -> None:
    if not isinstance(host, str) and (host.is_unspecified or host.is_multicast):
        return
    address = Address(str(host), port)
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize("text", ["hub", "hub:", "hub:x", "::1:80", "hub:0", "hub:70000", "hub:٣"])
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(ProvisionError):
        Address.parse(text)


def test_the_certificate_is_what_rfc_5280_asks_for(
    authority: certificates.Pair, tmp_path: Path
) -> None:
    now = certificates.now()
    made = certificates.server(authority, ["hub.example", "192.0.2.1", "2001:db8::1"], now)
    sans = made.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(sans.get_values_for_type(x509.DNSName)) == {"hub.example", "superlink", "localhost"}
    addresses = {"192.0.2.1", "2001:db8::1", "127.0.0.1"}
    assert {str(each) for each in sans.get_values_for_type(x509.IPAddress)} == addresses
    early = now - timedelta(seconds=1)  # a certificate has no fractions of a second
    assert certificates.days_left(made.certificate, early) == certificates.SERVER_DAYS
    basic = authority.certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert basic.critical
    assert basic.value == x509.BasicConstraints(ca=True, path_length=0)
    verifier = (
        x509.verification.PolicyBuilder()
        .store(x509.verification.Store([authority.certificate]))
        .build_server_verifier(x509.DNSName("hub.example"))
    )
    assert len(verifier.verify(made.certificate, [])) == 2


def test_a_certificate_never_outlives_its_ca(authority: certificates.Pair) -> None:
    end = authority.certificate.not_valid_after_utc
    late = certificates.server(authority, ["hub"], end - timedelta(days=10))
    assert late.certificate.not_valid_after_utc <= end
    with pytest.raises(ProvisionError, match="CA has ended"):
        certificates.server(authority, ["hub"], end)


def test_another_ca_has_not_signed_it(authority: certificates.Pair) -> None:
    other = certificates.authority(certificates.now())
    made = certificates.server(authority, ["hub"], certificates.now())
    assert certificates.issued_by(made.certificate, authority.certificate)
    assert not certificates.issued_by(made.certificate, other.certificate)


def test_a_sites_key_is_what_flower_reads(tmp_path: Path) -> None:
    from flwr.cli.supernode.register import try_load_public_key

    made = keys.pair("north")
    public, private = tmp_path / "k.pub", tmp_path / "k"
    public.write_text(made.public + "\n")
    private.write_text(made.private)
    loaded = serialization.load_ssh_private_key(private.read_bytes(), None)
    assert isinstance(loaded, ec.EllipticCurvePrivateKey)
    assert loaded.curve.name == "secp384r1"
    assert try_load_public_key(public) == keys.wire_form(made.public)
    assert made.public == f"{keys.public_of(private)} north"


def test_openssh_agrees_about_the_key(tmp_path: Path) -> None:
    made = keys.pair("north")
    private = tmp_path / "k"
    private.touch(mode=0o600)
    private.write_text(made.private)
    try:
        done = subprocess.run(["ssh-keygen", "-y", "-f", private], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("ssh-keygen is not installed")
    assert done.stdout.split()[:2] == made.public.split()[:2]


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "k"
    path.write_text("nothing")
    for read in (keys.public_of, certificates.read, certificates.read_key):
        with pytest.raises(ProvisionError, match="holds no"):
            read(path)


def _site_file(folder: Path, **lines: str) -> Path:
    given = {
        "name": '"north"',
        "coordinator": '"hub:8443"',
        "data": '"phantom(count=10)"',
        **lines,
    }
    path = folder / "site.toml"
    path.write_text(
        "".join(f"{key.replace('_', '-')} = {text}\n" for key, text in given.items() if text)
    )
    return path


def test_the_site_file_handed_over_is_right_and_flowers_own(tmp_path: Path) -> None:
    made = _made(tmp_path / "federation", "north")
    path = made.root / "sites" / "north" / "site.toml"
    site = site_file.read(path)
    assert (site.name, site.coordinator) == ("north", Address("hub.example", 8443))
    node = parse_config_args([str(path)])  # what flower-supernode does with --node-config
    assert node == tomllib.loads(path.read_text())
    assert node["data"] == site.data
    assert node["cache-dir"] == site.cache_dir


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), max_size=30))
def test_whatever_stands_in_a_path_reaches_the_site_as_it_is(text: str) -> None:
    import tempfile

    import tomli_w

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "site.toml"
        table = {
            "name": "north",
            "coordinator": "hub:1",
            "data": "phantom()",
            "cache-dir": f"/{text}",
        }
        path.write_text(tomli_w.dumps(table), encoding="utf-8")
        assert parse_config_args([str(path)])["cache-dir"] == f"/{text}"
        assert site_file.read(path).cache_dir == f"/{text}"


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("name", '"a b"', "name: a site's name"),
        ("name", "", "must set name"),
        ("data", '""', "must set data"),
        ("data", '"phantom(count=x)"', "data: reader 'phantom': count"),
        ("data", '"nosuch()"', "data: "),
        ("data", '"folder(path=images)"', "data: path must be an absolute path"),
        ("data", "\"folder(path='/x/{site}')\"", "data: {site} is for simulations"),
        ("coordinator", '"hub"', "coordinator: the coordinator's address must be host:port"),
        ("cache_dir", '"here"', "cache-dir: it must be an absolute path"),
        ("device", '"gpu"', "device: it must be auto"),
        ("threads", '"two"', "threads must be a whole number"),
        ("threads", "true", "threads must be a whole number"),
        ("threads", "0", "threads: it must be from 1"),
        ("keep-warm", '"no"', "keep-warm must be a whole number"),
        ("keep-warm", "-1", "keep-warm: it must be seconds, 0 or more"),
        ("workers", '"all"', "workers must be a whole number"),
        ("workers", "-1", "workers: it must be from 0"),
        ("least-images", "-1", "least-images: it must be a number of images"),
        ("colour", '"red"', "unknown key colour"),
        ("name", "north", "no TOML"),
    ],
)
def test_a_wrong_site_file_says_what_is_wrong(
    tmp_path: Path, key: str, text: str, said: str
) -> None:
    with pytest.raises(UserError) as caught:
        site_file.read(_site_file(tmp_path, **{key: text}))
    assert said in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_there_must_be_a_site_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such site file"):
        site_file.read(tmp_path / "site.toml")


def test_registering_needs_a_running_superlink(tmp_path: Path) -> None:
    from commands.ports import free_port

    made = _made(tmp_path / "federation", "north")
    where = f"127.0.0.1:{free_port()}"
    code, said = _run("register", str(made.coordinator), "--superlink", where)
    assert code == 1
    assert "the SuperLink does not answer" in said
    code, said = _run("register", str(tmp_path), "--superlink", where)
    assert code == 2
    assert "no coordinator's folder" in said
