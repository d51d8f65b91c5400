"""``python -m memos_integrations``: the ``memos`` command."""

from memos_integrations.interface.cli import main

if __name__ == "__main__":
    main()
