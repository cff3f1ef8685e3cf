"""Environment variables that nobody may override: each of them lets its value run code or redirect trust.

Sources: ld.so(8), glibc tunables, the JDK tool options
(https://docs.oracle.com/javase/8/docs/platform/jvmti/jvmti.html#tooloptions), Python's, Perl's, Ruby's, Node's and
bash's manuals. A list like this is never complete, so it only adds to the rule that everything not allowed by name is
refused.
"""

from __future__ import annotations

from functools import lru_cache

_PREFIXES = (
    "LD_",
    "DYLD_",
    "BASH_FUNC_",
    "PYTHON",
    "PERL",
    "RUBY",
    "NODE_",
    "MALLOC_",
    "GLIBC_",
    "OPENSSL_",
    "SSL_",
    "SSLKEYLOG",
    "GRPC_",
    "DOTNET_",
    "CORECLR_",
    "COR_",
    "GIT_",
)
_SUFFIXES = ("_PROXY", "_CA_BUNDLE", "JAVA_OPTIONS")
_NAMES = frozenset(
    [
        "JAVA_TOOL_OPTIONS",
        "_JAVA_OPTIONS",
        "JDK_JAVA_OPTIONS",
        "JDK_JAVAC_OPTIONS",
        "JAVA_OPTS",
        "JAVA_HOME",
        "CLASSPATH",
        "BASH_ENV",
        "ENV",
        "SHELLOPTS",
        "BASHOPTS",
        "PROMPT_COMMAND",
        "PS4",
        "IFS",
        "CDPATH",
        "SHELL",
        "PATH",
        "HOME",
        "HOSTNAME",
        "GCONV_PATH",
        "GETCONF_DIR",
        "HOSTALIASES",
        "LOCALDOMAIN",
        "RES_OPTIONS",
        "LOCPATH",
        "NLSPATH",
        "RESOLV_HOST_CONF",
        "TZDIR",
        "TMPDIR",
        "NIS_PATH",
        "LUA_PATH",
        "LUA_CPATH",
        "LUA_INIT",
        "PHPRC",
        "R_PROFILE",
        "CLOUDSDK_PYTHON",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_API_USE_CLIENT_CERTIFICATE",
        "KRB5_CONFIG",
        "CURL_HOME",
        "WGETRC",
        "NETRC",
        "TERMINFO",
    ]
)


@lru_cache(maxsize=1024)
def forbidden(name: str) -> bool:
    """Whether `name` may never be overridden, in whatever case it is written (some runtimes ignore case)."""
    name = name.upper()
    return name in _NAMES or name.startswith(_PREFIXES) or name.endswith(_SUFFIXES)
