import GRDB
import Crypto
import NIOHTTP1
import NIOPosix
import ServiceKit
print(1)
