"""Settings: where they come from, what they may be, and their defaults.

The only package that knows the files, variables and defaults of the configuration. It reads no global state: the
environment, the working directory and the flags are arguments (`safe_files` asks where systemd puts credentials).
Importing it loads neither the SDK, nor SQLite, nor rich.
"""

from orchestrator.config.example import render_example
from orchestrator.config.loading import SettingRow, Settings, database_flags, effective, load_settings, setting_rows
from orchestrator.config.money_sections import PricesSection
from orchestrator.config.paths import (
    PROJECT_FILE,
    check_socket_path,
    daemon_socket,
    database_folder,
    database_sockets,
    default_socket_path,
    socket_folder,
    socket_links,
    user_config_file,
)
from orchestrator.config.sections import DEFAULT_LISTEN, KEYS, ServerSection
from orchestrator.config.store_sections import DatabaseSection
from orchestrator.config.token_section import TokenSection
from orchestrator.config.values import format_duration, format_size, parse_address, parse_duration, parse_size
from orchestrator.config.webhook_section import WebhookSection

__all__ = [
    "DEFAULT_LISTEN",
    "KEYS",
    "PROJECT_FILE",
    "DatabaseSection",
    "PricesSection",
    "ServerSection",
    "SettingRow",
    "Settings",
    "TokenSection",
    "WebhookSection",
    "check_socket_path",
    "daemon_socket",
    "database_flags",
    "database_folder",
    "database_sockets",
    "default_socket_path",
    "effective",
    "format_duration",
    "format_size",
    "load_settings",
    "parse_address",
    "parse_duration",
    "parse_size",
    "render_example",
    "setting_rows",
    "socket_folder",
    "socket_links",
    "user_config_file",
]
