#!/usr/bin/env bash
# tls_echo and OpenSSL's own client, in a network namespace of their own: peers.sh TLS_ECHO BACKEND
set -u
if [ "${3:-}" != inside ]; then
  if ! unshare -Urn true 2>/dev/null; then
    echo "SKIPPED: this machine forbids network namespaces"
    exit 0
  fi
  exec unshare -Urn "$0" "$1" "$2" inside
fi
server=$1 backend=$2
ip link set lo up
work=$(mktemp -d)
trap 'kill $pid 2>/dev/null; rm -rf "$work"' EXIT
cd "$work"

# An authority, and what it signs: the name that is asked for.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem \
  -subj /CN=authority -days 2 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout own.key -out own.csr \
  -subj /CN=server.test 2>/dev/null
printf 'subjectAltName=DNS:server.test\nextendedKeyUsage=serverAuth\n' >ext
openssl x509 -req -in own.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext \
  -out own.pem 2>/dev/null

"$server" --backend "$backend" --tls.certificate own.pem --tls.key own.key 2>server.log &
pid=$!
tries=0
until openssl s_client -connect 127.0.0.1:7443 </dev/null >/dev/null 2>&1; do
  if ! kill -0 $pid 2>/dev/null; then
    grep -q "$backend" server.log && echo "SKIPPED: $(head -n 1 server.log)" && exit 0
    cat server.log && exit 1
  fi
  tries=$((tries + 1))
  [ $tries -lt 600 ] || { echo "no server"; exit 1; }
  sleep 0.05
done

failed=0
for protocol in -tls1_2 -tls1_3; do
  coproc client { exec openssl s_client $protocol -quiet -verify_return_error -CAfile ca.pem \
    -servername server.test -verify_hostname server.test -connect 127.0.0.1:7443 2>client.log; }
  client_pid=$client_PID
  echo "hello $protocol" >&"${client[1]}"
  said=
  read -t 60 -r said <&"${client[0]}"
  kill "$client_pid" 2>/dev/null
  wait "$client_pid" 2>/dev/null
  if [ "$said" != "hello $protocol" ]; then
    echo "FAILED: $protocol: '$said'"
    cat client.log
    failed=1
  fi
done
# What a client says and hears, line by line: converse "LINES THAT ARE SAID" "WANTED LINE" COMMAND...
# Everything that it printed goes to talk.log. Each line is said when the one before it was answered.
converse() {
  local said=$1 wanted=$2 line pid
  shift 2
  coproc talk { exec "$@" 2>&1; }
  pid=$talk_PID
  exec 7<&"${talk[0]}" 8>&"${talk[1]}"
  : >talk.log
  for word in $said; do
    echo "$word" >&8
    [ "$word" = K ] && word=KEYUPDATE # a command, which openssl takes only alone
    while read -t 60 -r line <&7; do
      echo "$line" >>talk.log
      [ "$line" = "$word" ] && break
    done
  done
  exec 8>&-
  kill "$pid" 2>/dev/null
  wait "$pid" 2>/dev/null
  grep -q "$wanted" talk.log || { echo "FAILED: no '$wanted' from: $*"; cat talk.log; failed=1; }
}
common="-CAfile ca.pem -servername server.test -connect 127.0.0.1:7443"
converse "one K two" "^KEYUPDATE" openssl s_client -tls1_3 $common
grep -q "^two" talk.log || { echo "FAILED: nothing after a key update"; failed=1; }
for protocol in -tls1_2 -tls1_3; do
  converse "one" "^New, " openssl s_client $protocol -sess_out session.pem $common
  converse "one" "^Reused, " openssl s_client $protocol -sess_in session.pem $common
done
if command -v gnutls-cli >/dev/null; then
  for protocol in 1.2 1.3; do
    converse "one" "^- Description: (TLS$protocol" gnutls-cli --x509cafile ca.pem \
      --priority "NORMAL:-VERS-ALL:+VERS-TLS$protocol" --sni-hostname server.test \
      --verify-hostname server.test -p 7443 127.0.0.1
  done
fi
if echo R | timeout 30 openssl s_client -tls1_1 -connect 127.0.0.1:7443 >/dev/null 2>&1; then
  echo "FAILED: TLS 1.1 was spoken"
  failed=1
fi
# Renegotiation ("R" alone on a line) is refused, and ends that client only.
coproc client { exec openssl s_client -tls1_2 -CAfile ca.pem -connect 127.0.0.1:7443 2>&1; }
client_pid=$client_PID
exec 7<&"${client[0]}"
echo R >&"${client[1]}"
refused=
while read -t 60 -r line <&7; do
  [[ $line == *"no renegotiation"* || $line == *"no_renegotiation"* ]] && refused=yes && break
done
kill "$client_pid" 2>/dev/null
wait "$client_pid" 2>/dev/null
[ -n "$refused" ] || { echo "FAILED: renegotiation was not refused"; failed=1; }
kill -INT $pid
wait $pid || { echo "FAILED: the server ended with $?"; cat server.log; failed=1; }
exit $failed
