"""Pages and pictures that are made from the code when the site is built, so that they cannot go out of date."""

import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parent))  # mkdocs loads this file by its path

import commands_page
import experiments_page
import keys_page
import pictures
import presets_page
import rooms_page
import sets_page

PAGES = {
    "reference/sets.md": sets_page.render,
    "reference/presets.md": presets_page.render,
    "reference/keys.md": keys_page.render,
    "reference/commands.md": commands_page.render,
    "experiments.md": experiments_page.render,
    "architecture.md": rooms_page.render,
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is generated to the files of the site."""
    for path, render in PAGES.items():
        files.append(File.generated(config, path, content=render()))
    for name in pictures.PICTURES:
        files.append(File.generated(config, f"pictures/{name}.svg", content=pictures.draw(name)))
    for path in experiments_page.images():
        files.append(File.generated(config, f"experiments/{path.parent.name}/{path.name}", abs_src_path=str(path.resolve())))
    return files


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Point the theme's one script from a network to ours, so that the site works without one."""
    root = "../" * page.url.count("/")
    return output.replace("https://unpkg.com/iframe-worker/shim", f"{root}javascripts/worker_on_disk.js")
