package main

import (
	"bytes"
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/alecthomas/kong"
)

// configCmd makes and checks the file of --config, and prints what is needed
// around the program.
type configCmd struct {
	Init  configInitCmd  `cmd:"" help:"Print a file for --config, with every key, its meaning and its default; with FILE write it there."`
	Check configCheckCmd `cmd:"" help:"Tell everything that is wrong with a file for --config."`

	Systemd    deployedFile `cmd:"" help:"Print a hardened unit for systemd."`
	Dockerfile deployedFile `cmd:"" help:"Print the Dockerfile, which is the source's own."`
	Entrypoint deployedFile `cmd:"" help:"Print what the container runs, which makes its key."`
	Compose    deployedFile `cmd:"" help:"Print a compose file for a server with keys."`
	Grafana    deployedFile `cmd:"" help:"Print a dashboard for Grafana, of what --admin tells Prometheus."`
	Prometheus deployedFile `cmd:"" help:"Print what Prometheus needs to ask --admin."`
	Alerts     deployedFile `cmd:"" help:"Print alerts for Prometheus."`
}

// deploy are the files that `mixdown config` prints.
//
//go:embed deploy
var deploy embed.FS

// deployed are their names by the commands that print them.
var deployed = map[string]string{
	"systemd":    "mixdown.service",
	"dockerfile": "Dockerfile",
	"entrypoint": "entrypoint.sh",
	"compose":    "compose.yaml",
	"grafana":    "grafana.json",
	"prometheus": "prometheus.yaml",
	"alerts":     "alerts.yaml",
}

type deployedFile struct{}

// Run prints the file of the command that was chosen.
func (deployedFile) Run(ctx *kong.Context, s streams) error {
	data, err := deploy.ReadFile("deploy/" + deployed[ctx.Selected().Name])
	if err != nil {
		return err
	}
	_, err = s.Out.Write(data)
	return err
}

type configInitCmd struct {
	File string `arg:"" optional:"" type:"path" help:"Where to write it; it must not exist."`
}

// Run prints or writes the file.
func (c *configInitCmd) Run(_ context.Context, s streams) error {
	text, err := exampleConfig()
	if err != nil {
		return err
	}
	if c.File == "" {
		_, err = io.WriteString(s.Out, text)
		return err
	}
	// It may come to hold secrets.
	f, err := os.OpenFile(c.File, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return usageError{fmt.Errorf("%s is there already: want a new file, or none to print it", c.File)}
	}
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, text)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.Out, "wrote %s: mixdown serve --config %s\n", c.File, c.File)
	return err
}

// exampleConfig is a file with every key as a comment, made from the flags
// themselves.
func exampleConfig() (string, error) {
	_, ctx, err := serveContext(nil)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("# What mixdown serve takes (--config FILE). Flags and MIXDOWN_... in the environment win\n" +
		"# over it; mixdown config check FILE tells what is wrong with it.\n" +
		"# systemctl reload, or SIGHUP, has a running server read it again: the log says which of the\n" +
		"# changes it took, and which want a restart.\n")
	for _, flag := range ctx.Selected().Flags {
		if flag.Name == configFlag || flag.Hidden {
			continue
		}
		fmt.Fprintf(&b, "\n%s\n#%s: %s\n", comment(flag.Help), flag.Name, exampleValue(flag))
	}
	return b.String(), nil
}

// exampleValue is the default, or what the value looks like.
func exampleValue(flag *kong.Flag) string {
	value := cmp.Or(flag.Default, flag.PlaceHolder)
	switch {
	case flag.IsBool():
		value = cmp.Or(flag.Default, "false")
	case flag.IsMap():
		return "{}"
	case flag.IsSlice():
		return "[" + quoted(value) + "]"
	}
	return quoted(value)
}

// quoted makes text one string in YAML, unless it is one anyhow.
func quoted(text string) string {
	if plainYAML.MatchString(text) {
		return text
	}
	return fmt.Sprintf("%q", text)
}

var plainYAML = regexp.MustCompile(`^[A-Za-z0-9./][A-Za-z0-9./-]*(:[A-Za-z0-9./-]+)*$`)

// commentWidth is how long lines of comments may be.
const commentWidth = 96

// comment breaks text into lines of comments.
func comment(text string) string {
	var b strings.Builder
	width := 0
	for _, word := range strings.Fields(text) {
		if width == 0 || width+1+len(word) > commentWidth {
			if width > 0 {
				b.WriteByte('\n')
			}
			b.WriteByte('#')
			width = 1
		}
		b.WriteString(" " + word)
		width += 1 + len(word)
	}
	return b.String()
}

// serveContext is the command line `mixdown serve` with nothing but what file
// says, if anything; the environment has no say.
func serveContext(file *configFile) (*serveCmd, *kong.Context, error) {
	if file == nil {
		file = &configFile{}
	}
	var c commands
	parser, err := kong.New(&c, kong.Name("mixdown"), kong.Exit(func(int) {}), kong.Writers(io.Discard, io.Discard),
		kong.Resolvers(file), kong.Bind(file))
	if err != nil {
		return nil, nil, err
	}
	ctx, err := kong.Trace(parser, []string{"serve"})
	if err != nil {
		return nil, nil, err
	}
	if err = errors.Join(ctx.Error, ctx.Reset(), ctx.Resolve()); err == nil {
		_, err = ctx.Apply()
	}
	return &c.Serve, ctx, err
}

type configCheckCmd struct {
	File string `arg:"" type:"path" help:"What --config would name."`
}

// Run tells every fault; that there are some is an error.
func (c *configCheckCmd) Run(_ context.Context, s streams) error {
	data, err := readConfig(c.File)
	if err != nil {
		return err
	}
	if err := checkConfig(data); err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			fmt.Fprintf(s.Out, "%s: %s\n", c.File, line)
		}
		return fmt.Errorf("%s cannot be used", c.File)
	}
	_, err = fmt.Fprintf(s.Out, "%s is good\n", c.File)
	return err
}

// checkConfig finds all faults of a file, in the order of lines: those of the
// YAML, unknown keys, values that cannot be read, and values that cannot be, or
// not together.
func checkConfig(data []byte) error {
	_, ctx, err := serveContext(nil)
	if err != nil {
		return err
	}
	parsed, syntax := parseConfig(data, configKeys(ctx.Flags()))
	syntax = errors.Join(syntax, parsed.convert(ctx.Flags()))
	serve, _, err := serveContext(&configFile{values: parsed.values})
	if err != nil {
		return errors.Join(syntax, err)
	}
	var together flagFaults
	if err := serve.Validate(); err != nil && !errors.As(err, &together) {
		together = flagFaults{err}
	}
	faults := faultsIn(syntax)
	for _, fault := range faultsIn(together) {
		fault.line = parsed.lineOf(fault.Error())
		faults = append(faults, fault)
	}
	return inOrder(faults)
}

// faultsIn takes joined faults apart.
func faultsIn(err error) (faults []lineFault) {
	var at lineFault
	switch joined, several := err.(interface{ Unwrap() []error }); {
	case err == nil:
	case several:
		for _, e := range joined.Unwrap() {
			faults = append(faults, faultsIn(e)...)
		}
	case errors.As(err, &at):
		faults = append(faults, at)
	default:
		faults = append(faults, lineFault{error: err})
	}
	return faults
}

var flagInText = regexp.MustCompile(`--([a-z0-9-]*[a-z0-9])`)

// lineOf is the line of the first flag that a fault names and the file has.
func (c *parsedConfig) lineOf(fault string) int {
	for _, m := range flagInText.FindAllStringSubmatch(fault, -1) {
		if line := c.lines[m[1]]; line > 0 {
			return line
		}
	}
	return 0
}

// readConfig reads a file that is not unreasonably long.
func readConfig(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var b bytes.Buffer
	if n, err := io.Copy(&b, io.LimitReader(f, maxConfigBytes+1)); err != nil {
		return nil, err
	} else if n > maxConfigBytes {
		return nil, fmt.Errorf("%s: more than %d bytes", path, maxConfigBytes)
	}
	return b.Bytes(), nil
}
