# Finds coroutines that g++ 12.2 compiles into nothing: an if, while, for or switch whose condition holds a co_await,
# in a coroutine that declares no local variable anywhere (a declaration in a condition counts as one, a parameter
# does not). Fixed in g++ 12.3; the cure is `const auto n = co_await x;` before the condition.
#
# Reads C++ without understanding it: cuts the text at ';', '{' and '}' and looks at the pieces. Portable awk.

function reset_file() {
  depth = 0; text = ""; parens = 0; kind[0] = "file"; in_comment = 0; in_raw = 0; continued = 0
}

# What opens with this text before its brace?
function kind_of(head) {
  if (head ~ /^(if|for|while|switch|catch|else|do|try|case|default)([^a-z0-9_]|$)/) return "control"
  if (head ~ /^(namespace|class|struct|union|enum|extern|template[^(]*(class|struct) )/) return "scope"
  if (head ~ /^$/) return "block"
  if (head ~ /[=,(]$/ || head ~ /return$/) return "braces"
  if (head ~ /\)[ a-z]*(noexcept(\([^)]*\))?)?[ a-z]*(->.*)?$/ || head ~ /\][ ]*$/) return "function"
  return "braces"
}

function nearest_function(  i) {
  for (i = depth; i > 0; i--) if (kind[i] == "function") return i
  return 0
}

# The text between the first parenthesis and its partner.
function condition_of(piece,  i, c, level, start) {
  start = index(piece, "(")
  level = 0
  for (i = start; i <= length(piece); i++) {
    c = substr(piece, i, 1)
    if (c == "(") level++
    if (c == ")" && --level == 0) return substr(piece, start + 1, i - start - 1)
  }
  return substr(piece, start + 1)
}

function declares(piece) {
  if (piece ~ /^(return|co_return|co_await|co_yield|throw|delete|else|using|typedef|goto|case|break|continue|static|new)([^a-z0-9_]|$)/)
    return 0
  return piece ~ /^(const |constexpr |volatile |struct |unsigned |long )*[A-Za-z_][A-Za-z0-9_:]*(<.*>)?(::[a-z_]+)?( const)?[ ]*[&*]*[ ]+[&*]*(\[|[a-z_][a-zA-Z0-9_]*[ ]*([=({;:]|\[|$))/
}

function look(piece,  f, inner) {
  sub(/^[ ]+/, "", piece)
  sub(/[ ]+$/, "", piece)
  f = nearest_function()
  if (f == 0) return
  if (piece ~ /^(}? ?else )?(if|while|for|switch)( constexpr)? ?\(/) {
    inner = condition_of(piece)
    sub(/^[ ]+/, "", inner)
    if (declares(inner)) has_local[f] = 1
    else if (inner ~ /co_await/) { offences[f]++; offence[f, offences[f]] = FNR }
  } else if (declares(piece)) has_local[f] = 1
}

function step(c) {
  if (c == "(") parens++
  if (c == ")") parens--
  if (c == ";" && parens == 0) { look(text); text = ""; return }
  if (c == "{") {
    look(text)
    sub(/^[ ]+/, "", text); sub(/[ ]+$/, "", text)
    depth++
    kind[depth] = kind_of(text)
    kept[depth] = text; kept_parens[depth] = parens
    has_local[depth] = 0; offences[depth] = 0
    text = ""; parens = 0
    return
  }
  if (c == "}") {
    look(text)
    if (kind[depth] == "function" && !has_local[depth])
      for (i_ = 1; i_ <= offences[depth]; i_++) {
        printf "%s:%d: co_await in a condition, in a coroutine without a local: g++ 12.2 drops it\n", FILENAME, offence[depth, i_]
        found = 1
      }
    # An initializer or a lambda belongs to the statement around it.
    text = ((kind[depth] == "braces" || kept_parens[depth] > 0 || kept[depth] ~ /\]/) && kind[depth] != "control") ? kept[depth] "{}" : ""
    parens = text == "" ? 0 : kept_parens[depth]
    if (depth > 0) depth--
    return
  }
  text = text c
}

FNR == 1 { reset_file() }
{
  line = $0
  if (continued || (!in_comment && !in_raw && line ~ /^[ \t]*#/)) { continued = line ~ /\\$/; next }
  n = length(line); quote = ""
  for (k = 1; k <= n; k++) {
    c = substr(line, k, 1); two = substr(line, k, 2)
    if (in_comment) { if (two == "*/") { in_comment = 0; k++ } continue }
    if (in_raw) { if (two == ")\"") { in_raw = 0; k++ } continue }
    if (quote != "") { if (c == "\\") k++; else if (c == quote) quote = ""; continue }
    if (two == "//") break
    if (two == "/*") { in_comment = 1; k++; continue }
    if (substr(line, k, 3) == "R\"(") { in_raw = 1; k += 2; text = text "_"; continue }
    if (c == "\"") { quote = c; text = text "_"; continue }
    if (c == "'" && substr(line, k - 1, 1) !~ /[0-9A-Fa-f]/) { quote = c; text = text "_"; continue }
    step(c == "\t" ? " " : c)
  }
  if (!in_comment && !in_raw) step(" ")
}
END { exit found ? 1 : 0 }
