"""CTK's text browser that is as high as its text and can fold it to a teaser."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from .stored import stored

_SHOW, _HIDE = "show_details", "hide_details"
_BREAK = "<br>"


def _texts_changed(self: Any, _value: Any) -> None:
    self._show_text()


class ctkFittedTextBrowser(QtWidgets.QTextBrowser):
    """A text browser as high as its text; a collapsible text shows its first line and a link to the rest.

    ``setText`` and the plain ``plainText``/``html`` properties show a text as it is. As in CTK, a later change of
    ``collapsed`` or of a link text replaces what is shown by the collapsible text, even by an empty one.
    """

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._text = ""
        self._is_html = False
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Ignored, QtWidgets.QSizePolicy.Policy.Preferred)
        self.textChanged.connect(self.updateGeometry)
        self.anchorClicked.connect(self._follow)

    # --- collapsible text ----------------------------------------------------------------------------------------
    def setCollapsibleText(self, text: str) -> None:
        self._keep(text, is_html="<html>" in text)

    def setCollapsiblePlainText(self, text: str) -> None:
        self._keep(text, is_html="<html>" in text)

    def setCollapsibleHtml(self, text: str) -> None:
        self._keep(text, is_html=True)

    def collapsibleText(self) -> str:
        return self._text

    def _keep(self, text: str, is_html: bool) -> None:
        self._text, self._is_html = text, is_html
        self._show_text()

    def _show_text(self) -> None:
        teaser, found, rest = self._text.partition(_BREAK if self._is_html else "\n")
        if not found:
            self.setHtml(self._text)
        elif self.property("collapsed"):
            self.setHtml(self._close(f"{teaser}&hellip; {self._link(_SHOW, 'showDetailsText')}"))
        else:
            # The line break between teaser and rest is left out: the text runs on.
            whole = teaser + (rest if self._is_html else rest.replace("\n", _BREAK))
            self.setHtml(self._insert_before_end(whole, f" {self._link(_HIDE, 'hideDetailsText')}"))

    def _link(self, anchor: str, name: str) -> str:
        return f'<a href="#{anchor}">{self.property(name)}</a>'

    @staticmethod
    def _close(text: str) -> str:
        return text + "</html>" if "<html" in text and "</html" not in text else text

    @staticmethod
    def _insert_before_end(text: str, link: str) -> str:
        for end in ("</body>", "</html>"):
            if end in text:
                return text.replace(end, link + end)
        return text + link

    def _follow(self, url: QtCore.QUrl) -> None:
        if url.path() == "" and url.fragment() in (_SHOW, _HIDE):
            self.setProperty("collapsed", url.fragment() == _HIDE)

    # --- size ----------------------------------------------------------------------------------------------------
    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        frame = 2 * self.frameWidth()
        document = self.document().clone()
        document.setTextWidth(width - frame)
        line = QtGui.QFontMetrics(document.defaultFont()).lineSpacing()
        return max(int(document.size().height()), line) + frame

    def minimumSizeHint(self) -> QtCore.QSize:
        width = self.width()
        return QtCore.QSize(width, self.heightForWidth(width)) if width else super().minimumSizeHint()

    sizeHint = minimumSizeHint

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:
        super().resizeEvent(event)
        if event.size().height() != self.heightForWidth(event.size().width()):
            self.updateGeometry()

    def wheelEvent(self, event: QtGui.QWheelEvent) -> None:
        if not self.property("disableMouseScroll"):
            super().wheelEvent(event)

    collapsed = stored(bool, True, _texts_changed)
    showDetailsText = stored(str, "Show details...", _texts_changed)
    hideDetailsText = stored(str, "Hide details.", _texts_changed)
    disableMouseScroll = stored(bool, False)
