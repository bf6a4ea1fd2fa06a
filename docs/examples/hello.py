import json, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Hello(BaseHTTPRequestHandler):
    def do_POST(self):
        job = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps({"greeting": f"Hello, {job['name']}!"}).encode())
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Hello).serve_forever()
