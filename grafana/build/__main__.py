"""Write each dashboard to its file."""

from grafana.build.files import FOLDER, written

for name, text in written().items():
    (FOLDER / name).write_text(text, encoding="utf-8")
