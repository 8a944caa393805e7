"""What a table may not be asked to do: change itself, or its gradient, behind the rule's back."""

from drpt.capture.errors import UnsupportedModuleError
from drpt.capture.layers.site import Site


def refuse_options(site: Site, **options: object) -> None:
    """Refuse what changes a table, or its gradient, behind the rule's back.

    Args:
        site: The table's place.
        options: Those of `nn.Embedding` that have no rule; None where one is off.

    Raises:
        UnsupportedModuleError: One of the options is on.
    """
    for option, value in options.items():
        if value is not None:
            raise UnsupportedModuleError(f"{site.name}: an embedding with {option}={value} has no rule; turn it off.")
