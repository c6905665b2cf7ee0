"""A network camera on loopback, for Debian's own Python.

    rtsp_server.py PORT CODEC [USER:PASSWORD]

It serves /cam at 25 pictures a second, 384 x 48 pixels. Each shows the monotonic clock of its
making in milliseconds: 24 blocks, white for 1, the highest bit first. CODEC is "jpeg" or "h264".
"""

import sys
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

BITS, BLOCK, HEIGHT, RATE = 24, 16, 48, 25
CODECS = {
    "jpeg": "jpegenc ! rtpjpegpay name=pay0 pt=26",
    "h264": "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 ! rtph264pay name=pay0",
}
RAW = f"video/x-raw,format=RGB,width={BITS * BLOCK},height={HEIGHT},framerate={RATE}/1"


def picture() -> bytes:
    now_ms = time.monotonic_ns() // 1_000_000 & (1 << BITS) - 1
    bits = f"{now_ms:0{BITS}b}"
    return b"".join((b"\xff" if bit == "1" else b"\x00") * (3 * BLOCK) for bit in bits) * HEIGHT


class Camera(GstRtspServer.RTSPMediaFactory):
    def do_configure(self, media: GstRtspServer.RTSPMedia) -> None:
        source = media.get_element().get_by_name_recurse_up("camera")
        timer = GLib.timeout_add(1000 // RATE, lambda: push(source))
        media.connect("unprepared", lambda _: GLib.source_remove(timer))


def push(source: Gst.Element) -> bool:
    source.emit("push-buffer", Gst.Buffer.new_wrapped(picture()))
    return True


def main(port: str, codec: str, login: str = "") -> None:
    Gst.init(None)
    server = GstRtspServer.RTSPServer.new()
    server.set_address("127.0.0.1")
    server.set_service(port)
    camera = Camera()
    camera.connect("media-configure", Camera.do_configure)
    camera.set_launch(
        f"( appsrc name=camera is-live=true do-timestamp=true format=time caps={RAW} "
        f"! videoconvert ! video/x-raw,format=I420 ! {CODECS[codec]} )"
    )
    camera.set_shared(True)
    if login:
        auth = GstRtspServer.RTSPAuth()
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "user")
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(*login.split(":", 1)), token)
        server.set_auth(auth)
        permissions = GstRtspServer.RTSPPermissions()
        permissions.add_permission_for_role("user", "media.factory.access", True)
        permissions.add_permission_for_role("user", "media.factory.construct", True)
        camera.set_permissions(permissions)
    server.get_mount_points().add_factory("/cam", camera)
    server.attach(None)
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:])
