package settings

import (
	"encoding"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/pelletier/go-toml/v2"
)

// This file owns where values come from: flags before variables before the file before defaults.

// prefix of the variables. The rest is the setting's name in capitals, with _ for -.
const prefix = "COUNTERSIGN_"

func variable(name string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// A source of higher rank wins.
type rank int

const (
	byDefault rank = iota
	byFile
	byVariable
	byFlag
)

// origin says where one setting's value came from.
type origin struct {
	rank rank
	text string // for people
}

// given is how the settings of one command came to their values. It is the resolver that kong asks for flags that are
// not on the command line. What is wrong is collected, so that people hear of all of it at once.
type given struct {
	flags    []*kong.Flag // those that are settings
	origins  map[string]origin
	path     string         // of the file; "" when there is none
	file     map[string]any // what stands in it
	problems Problems
}

// Names returns the names of all settings, in their order. Every source may give all of them, whichever the command needs, so that
// all commands can share one file and one environment.
func Names() []string {
	var names []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Serve]()) {
		if name := f.Tag.Get("name"); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// secrets are the names of secret settings.
func secrets() map[string]bool {
	found := map[string]bool{}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Serve]()) {
		if _, secret := f.Tag.Lookup("secret"); secret {
			found[f.Tag.Get("name")] = true
		}
	}
	return found
}

// read looks into the environment and the file, refuses what it does not know there, and takes part in resolving.
func (g *given) read(ctx *kong.Context) error {
	*g = given{origins: map[string]origin{}}
	names := Names()
	for _, f := range ctx.Flags() {
		if slices.Contains(names, f.Name) {
			g.flags = append(g.flags, f)
		}
	}
	for _, p := range ctx.Path {
		if p.Flag != nil {
			g.origins[p.Flag.Name] = origin{byFlag, "--" + p.Flag.Name}
		}
	}
	g.readEnvironment(names, foreignVariables(ctx.Model))
	if path := g.configPath(ctx); path != "" {
		g.readFile(path, names)
	}
	ctx.AddResolver(g)
	return nil
}

// foreignVariables are those that flags of other commands read.
func foreignVariables(app *kong.Application) map[string]bool {
	found := map[string]bool{}
	_ = kong.Visit(app, func(node kong.Visitable, next kong.Next) error {
		if flag, ok := node.(*kong.Flag); ok {
			for _, name := range flag.Envs {
				found[name] = true
			}
		}
		return next(nil)
	})
	return found
}

func (g *given) readEnvironment(names []string, foreign map[string]bool) {
	known := make([]string, len(names))
	for i, name := range names {
		known[i] = variable(name)
	}
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, prefix) && value != "" && !foreign[name] && !slices.Contains(known, name) {
			g.problems = append(g.problems, Problem{name, "environment", "there is no such setting: unset it, or write " + nearest(name, known)})
		}
	}
}

func (g *given) configPath(ctx *kong.Context) string {
	for _, f := range g.flags {
		if f.Name == "config" && g.origins["config"].rank == byFlag {
			return string(ctx.FlagValue(f).(File))
		}
	}
	return os.Getenv(variable("config"))
}

func (g *given) readFile(path string, names []string) {
	g.path = path
	wrong := func(setting, why string) { g.problems = append(g.problems, Problem{setting, path, why}) }
	text, err := os.ReadFile(path)
	if err != nil {
		g.problems = append(g.problems, Problem{"config", g.source("config").text, fmt.Sprintf("%s cannot be read (%v): name another file, or change its permissions", path, reasonOf(err))})
		return
	}
	if err := toml.Unmarshal(text, &g.file); err != nil {
		where := "it"
		if at, ok := errors.AsType[*toml.DecodeError](err); ok {
			row, column := at.Position()
			where = fmt.Sprintf("line %d, column %d", row, column)
		}
		g.file = nil
		wrong("config", fmt.Sprintf("%s is not TOML (%v): write lines like api-url = \"https://api.example.com\"", where, err))
		return
	}
	for _, name := range sortedKeys(g.file) {
		switch {
		case name == "config":
			wrong(name, "a file cannot name another one: remove it")
		case !slices.Contains(names, name):
			wrong(name, "there is no such setting: remove it, or write "+nearest(name, names))
		}
	}
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// source says where a setting's value comes from.
func (g *given) source(name string) origin {
	if o, ok := g.origins[name]; ok {
		return o
	}
	if os.Getenv(variable(name)) != "" {
		return origin{byVariable, variable(name)}
	}
	if _, ok := g.file[name]; ok {
		return origin{byFile, g.path}
	}
	return origin{byDefault, "default"}
}

// Validate does nothing: unknown names are found where the sources are read.
func (g *given) Validate(*kong.Application) error { return nil }

// Resolve returns the value of a flag that is not on the command line, as kong's mappers take it, or nil.
func (g *given) Resolve(_ *kong.Context, _ *kong.Path, f *kong.Flag) (any, error) {
	if !slices.Contains(g.flags, f) {
		return nil, nil
	}
	from := g.source(f.Name)
	var texts []string
	switch from.rank {
	case byVariable:
		texts = []string{os.Getenv(variable(f.Name))}
		if f.IsSlice() {
			texts = kong.SplitEscaped(texts[0], ',')
		}
	case byFile:
		var ok bool
		if texts, ok = plain(g.file[f.Name], f.IsSlice()); !ok {
			g.wrong(f.Name, from, "has a value of another kind: write "+shape(f))
			return nil, nil
		}
	default:
		return nil, nil
	}
	g.origins[f.Name] = from
	values := make([]any, len(texts))
	for i, text := range texts {
		if err := check(f, text); err != nil {
			g.wrong(f.Name, from, err.Error())
			return nil, nil
		}
		values[i] = text
	}
	switch {
	case f.IsSlice():
		return values, nil
	case f.IsBool():
		return texts[0] == "true", nil
	}
	return values[0], nil
}

func (g *given) wrong(name string, from origin, why string) {
	g.problems = append(g.problems, Problem{name, from.text, why})
}

// shape is how a value of the flag looks in the file.
func shape(f *kong.Flag) string {
	switch {
	case f.IsSlice():
		return f.Name + ` = ["…", "…"]`
	case f.IsBool():
		return f.Name + " = true"
	}
	return f.Name + ` = "…"`
}

// plain makes texts of a value in the file. A list may be written as one value.
func plain(v any, list bool) ([]string, bool) {
	switch v := v.(type) {
	case string:
		return []string{v}, true
	case bool, int64, float64:
		return []string{fmt.Sprint(v)}, true
	case []any:
		var texts []string
		for _, one := range v {
			text, ok := plain(one, false)
			if !ok {
				return nil, false
			}
			texts = append(texts, text...)
		}
		return texts, list
	}
	return nil, false
}

// check reports what is wrong with a text as one value of the flag.
func check(f *kong.Flag, text string) error {
	of := f.Target.Type()
	if f.IsSlice() {
		of = of.Elem()
	}
	if of.Kind() == reflect.Bool {
		if text != "true" && text != "false" {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		return nil
	}
	return reflect.New(of).Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text))
}

// readSecrets takes secrets from the files that are named for them.
func (g *given) readSecrets(ctx *kong.Context) {
	for _, p := range ctx.Path {
		if p.Flag != nil && !p.Resolved {
			g.origins[p.Flag.Name] = origin{byFlag, "--" + p.Flag.Name}
		}
	}
	byName := map[string]*kong.Flag{}
	for _, f := range g.flags {
		byName[f.Name] = f
	}
	for name := range secrets() {
		target, file := byName[name], byName[name+"-file"]
		if target == nil || file == nil {
			continue
		}
		path, from, direct := file.Target.String(), g.source(file.Name), g.source(name)
		switch {
		case path == "" || direct.rank > from.rank:
		case direct.rank == from.rank:
			g.wrong(name, direct, "is given twice, here and as "+file.Name+": leave one of them out")
		default:
			g.readSecret(target, path, from)
		}
	}
}

// readSecret sets a secret from a file; of a list, each line is one value.
func (g *given) readSecret(f *kong.Flag, path string, from origin) {
	text, err := readPrivate(path)
	if err != nil {
		g.wrong(f.Name+"-file", from, err.Error())
		return
	}
	lines := []string{strings.TrimSpace(string(text))}
	if f.IsSlice() {
		lines = slices.DeleteFunc(strings.Split(lines[0], "\n"), func(line string) bool { return strings.TrimSpace(line) == "" })
	}
	for _, line := range lines {
		if err := check(f, strings.TrimSpace(line)); err != nil {
			g.wrong(f.Name+"-file", from, fmt.Sprintf("%s: %v", path, err))
			return
		}
	}
	if f.IsSlice() {
		list := reflect.MakeSlice(f.Target.Type(), len(lines), len(lines))
		for i, line := range lines {
			_ = list.Index(i).Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(strings.TrimSpace(line))) // checked above
		}
		f.Target.Set(list)
	} else {
		_ = f.Target.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(lines[0])) // checked above
	}
	g.origins[f.Name] = origin{from.rank, from.text + ", the file " + path}
}

// maxSecret bounds what is read of a file for a secret, in bytes.
const maxSecret = 64 << 10

// CheckPrivate reports why a file is none with a secret that not everybody may read.
func CheckPrivate(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("%s cannot be read (%w): name another file, or change its permissions", path, reasonOf(err))
	}
	if info.IsDir() || info.Size() > maxSecret {
		return fmt.Errorf("%s is not a file with a secret: name another one", path)
	}
	if info.Mode().Perm()&0o007 != 0 && runtime.GOOS != "windows" { // whose permissions are not these bits
		return fmt.Errorf("%s may be read by everybody on this machine: run chmod o-rwx %s, and replace the secret if others may have seen it", path, path)
	}
	return nil
}

// readPrivate reads a file that not everybody may read.
func readPrivate(path string) ([]byte, error) {
	if err := CheckPrivate(path); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read (%w): name another file, or change its permissions", path, reasonOf(err))
	}
	return text, nil
}

// ReadKey reads a master key from a file that not everybody may read.
func ReadKey(path string) (Key, error) {
	text, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	var k Key
	if err := k.UnmarshalText(text); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// reasonOf drops the path that os errors repeat.
func reasonOf(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

// effective lists the settings as they count.
func (g *given) effective() []Effective {
	hidden := secrets()
	out := make([]Effective, len(g.flags))
	for i, f := range g.flags {
		out[i] = Effective{Name: f.Name, Value: shown(f.Target, hidden[f.Name]), From: g.source(f.Name).text}
	}
	return out
}

// mask stands for a secret.
const mask = "********"

// shown is a value as people may see it.
func shown(v reflect.Value, secret bool) string {
	switch value := v.Interface().(type) {
	case Database: // secret only in part, and worth seeing
		return value.String()
	case Gateway:
		return value.String()
	case Network:
		return value.String()
	case Inside:
		return value.String()
	}
	if v.Kind() == reflect.Slice && v.Type() != reflect.TypeFor[Key]() {
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = shown(v.Index(i), secret)
		}
		return strings.Join(parts, ", ")
	}
	if secret {
		if v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0 {
			return ""
		}
		return mask
	}
	return fmt.Sprint(v.Interface())
}

// nearest returns the one of names that needs the fewest changes to become wrong.
func nearest(wrong string, names []string) string {
	best, fewest := "", len(wrong)+100
	for _, name := range names {
		if n := distance(wrong, name); n < fewest {
			best, fewest = name, n
		}
	}
	return best
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
