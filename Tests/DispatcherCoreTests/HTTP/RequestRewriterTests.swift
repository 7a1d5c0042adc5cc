import Model
import Testing

@testable import DispatcherCore

struct RequestRewriterTests {
    @Test func ordinaryRequestKeepsItsFieldsInOrderAndGetsOurs() {
        let request = "POST /render?a=1 HTTP/1.1\r\nHost: x.example:8080\r\nUser-Agent:  t \r\nContent-Length: 5\r\nAccept: */*\r\n\r\nhello"
        #expect(
            rewriteRequest(latin1(request))
                == "POST /render?a=1 HTTP/1.1\r\nHost: x.example:8080\r\nUser-Agent:  t \r\nContent-Length: 5\r\nAccept: */*\r\n"
                + "X-Forwarded-For: 192.0.2.10\r\nForwarded: for=192.0.2.10;host=\"x.example:8080\";proto=http\r\n"
                + "X-Forwarded-Proto: http\r\nX-Forwarded-Host: x.example:8080\r\nConnection: close\r\nLeasehold-Lease: web/17.4\r\n\r\n")
    }
}
