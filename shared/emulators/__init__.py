"""Wire-level stand-ins for what Google ships no emulator for. Each behaviour cites the page that it imitates."""
