import HTTPTypes
import Hummingbird
import Model
import NIOCore
import PublisherCore

/// The status page: one document with a style sheet and a script of its own, and the stream of what it shows.
struct Page: Sendable {
    let board: Board

    /// More than that is a scraper that should read /statusz.
    private static let mostViewers = 64
    /// From one picture to the next.
    private static let rhythm = Duration.seconds(1)

    /// Only what we serve ourselves, and nothing inline.
    private static let policy =
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

    func add(to router: Router<BasicRequestContext>) {
        router.get("/") { _, _ in Self.file("text/html; charset=utf-8", PageFiles.document) }
        router.get("/page.css") { _, _ in Self.file("text/css; charset=utf-8", PageFiles.styles) }
        router.get("/page.js") { _, _ in Self.file("text/javascript; charset=utf-8", PageFiles.script) }
        router.get("/favicon.ico") { _, _ in Response(status: .noContent) }
        router.get("/events") { _, _ in events() }
    }

    private static func file(_ type: String, _ text: String) -> Response {
        Response(
            status: .ok, headers: [.contentType: type, .contentSecurityPolicy: policy, .cacheControl: "no-cache"],
            body: .init(byteBuffer: ByteBuffer(string: text)))
    }

    /// Server-sent events (HTML, §9.2): `status` once a second, `cells` of a pool when they have changed, `news` when there are any.
    private func events() -> Response {
        guard board.enter(most: Self.mostViewers) else {
            return Routes.text(.serviceUnavailable, "too many status pages are open, or the publisher is stopping\n")
        }
        let board = board
        let body = ResponseBody { writer in
            defer { board.leave() }
            var view = PageView()
            while !board.isDraining {
                let (now, wall) = Board.now()
                let text = view.next(board.publication, at: now, wall: wall)
                // A reader that does not read stops here; what it misses is never kept for it.
                try await writer.write(ByteBuffer(bytes: text))
                try await Task.sleep(for: Self.rhythm)
            }
            try await writer.finish(nil)
        }
        return Response(status: .ok, headers: [.contentType: "text/event-stream", .contentSecurityPolicy: Self.policy], body: body)
    }
}
