#!/usr/bin/env python3
"""Loads a page in a headless Chromium, waits in real time until an expression is true, and prints the DOM.

look.py BROWSER URL [--until JS] [--do JS] [--width N] [--height N] [--dark] [--shot FILE] [--print JS]

--do runs once --until holds; what --print gives is printed instead of the DOM. Speaks the DevTools protocol.
"""
import argparse
import asyncio
import base64
import json
import os
import subprocess
import sys
import tempfile
import urllib.request

import websockets

PIECE = 1200  # pixels
PATIENCE = 60  # seconds; only a page that is broken takes as long


class Tab:
    def __init__(self, socket):
        self.socket, self.number, self.errors = socket, 0, []

    async def call(self, method, **parameters):
        self.number += 1
        await self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(await self.socket.recv())
            if answer.get("method") == "Runtime.exceptionThrown":
                self.errors.append(answer["params"]["exceptionDetails"])
            if answer.get("method") == "Log.entryAdded" and answer["params"]["entry"]["level"] == "error":
                self.errors.append(answer["params"]["entry"])
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    async def value(self, expression):
        got = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in got:
            raise RuntimeError(f"{expression}: {got['exceptionDetails']}")
        return got["result"].get("value")


async def shoot(tab, how):
    """In pieces that can be looked at: FILE.png, FILE-1.png, ..."""
    whole = await tab.value("document.documentElement.scrollHeight")
    for piece, top in enumerate(range(0, whole, PIECE)):
        image = await tab.call("Page.captureScreenshot", format="png", captureBeyondViewport=True,
                               clip={"x": 0, "y": top, "width": how.width, "scale": 1, "height": min(PIECE, whole - top)})
        with open(how.shot if piece == 0 else how.shot.replace(".png", f"-{piece}.png"), "wb") as file:
            file.write(base64.b64decode(image["data"]))


async def look(how, port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
        pages = [p for p in json.load(answer) if p["type"] == "page"]
    async with websockets.connect(pages[0]["webSocketDebuggerUrl"], max_size=None) as socket:
        tab = Tab(socket)
        await tab.call("Runtime.enable")
        await tab.call("Log.enable")
        await tab.call("Emulation.setDeviceMetricsOverride", width=how.width, height=how.height,
                       deviceScaleFactor=1, mobile=how.width < 600)
        await tab.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if how.dark else "light"}])
        await tab.call("Page.navigate", url=how.url)
        for _ in range(PATIENCE * 10):
            if await tab.value(f"document.readyState === 'complete' && !!({how.until})"):
                break
            await asyncio.sleep(0.1)
        else:
            raise RuntimeError(f"never came to be: {how.until}\n" + await tab.value("document.body.outerHTML"))
        if how.do:
            await tab.value(how.do)
        if how.shot:
            await shoot(tab, how)
        print(await tab.value(how.print or "document.documentElement.outerHTML"))
        if tab.errors:
            raise RuntimeError(f"the page complains: {tab.errors}")


async def main():
    read = argparse.ArgumentParser()
    read.add_argument("browser")
    read.add_argument("url")
    read.add_argument("--until", default="true")
    read.add_argument("--do", default="")
    read.add_argument("--print", default="")
    read.add_argument("--width", type=int, default=1280)
    read.add_argument("--height", type=int, default=900)
    read.add_argument("--dark", action="store_true")
    read.add_argument("--shot", default="")
    how = read.parse_args()
    with tempfile.TemporaryDirectory(prefix="weir-look-", ignore_cleanup_errors=True) as home:
        # Its home is the profile: nothing of the user's is read or written.
        environment = {**os.environ, "HOME": home, "XDG_CONFIG_HOME": home, "XDG_CACHE_HOME": home}
        browser = subprocess.Popen(
            [how.browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--disable-background-networking", "--disable-component-update", "--no-first-run", "--disable-sync",
             "--user-data-dir=" + home, "--remote-debugging-port=0", "about:blank"],
            env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            for line in browser.stderr:  # "DevTools listening on ws://127.0.0.1:4711/..."
                if "DevTools listening on" in line:
                    port = int(line.split("ws://127.0.0.1:")[1].split("/")[0])
                    break
            else:
                raise RuntimeError("the browser ended")
            await look(how, port)
        finally:
            browser.terminate()
            browser.wait()


try:
    asyncio.run(main())
except (RuntimeError, OSError) as problem:
    sys.exit(f"look.py: {problem}")
