"""The command line: `textgym train | pretrain | generate | score | rank | solve | list`, one file a command."""

__all__ = ["main"]


def main() -> None:
    """Runs the command that `sys.argv` asks for; what the console script `textgym` calls."""
    try:
        import warnings

        from textgym.cli.app import app
        from textgym.cli.terminal import show_warning

        warnings.showwarning = show_warning
        app(prog_name="textgym")
    except KeyboardInterrupt:  # while modules are still loading
        raise SystemExit(130) from None
