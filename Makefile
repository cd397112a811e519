# The C libraries, the header, the manual pages and the command. (Rust programs need cargo alone.)
#
#   make                                    builds
#   make install PREFIX=/usr DESTDIR=stage  installs; install-strip does so without debugging information
#   make uninstall PREFIX=... DESTDIR=...   removes what install put there
#
# Honoured: CC OBJCOPY STRIP INSTALL CARGO CARGOFLAGS LDFLAGS, CARGO_TARGET_DIR, CARGO_BUILD_TARGET (cross-compiling: set CC
# and OBJCOPY, too), BINDIR LIBDIR INCLUDEDIR MANDIR DOCDIR. It asks for GNU make and GNU binutils.

CARGO ?= cargo
OBJCOPY ?= objcopy
STRIP ?= strip
INSTALL ?= install
CARGOFLAGS ?= --locked

PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
MANDIR ?= $(PREFIX)/share/man
DOCDIR ?= $(PREFIX)/share/doc/conntab

# While the major version is 0, the minor one is part of the ABI (docs/abi.md).
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
MAJOR := $(word 1,$(subst ., ,$(VERSION)))
MINOR := $(word 2,$(subst ., ,$(VERSION)))
ABI := $(if $(filter 0,$(MAJOR)),0.$(MINOR),$(MAJOR))
SONAME := libconntab.so.$(ABI)
SOFILE := libconntab.so.$(VERSION)

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
TRIPLE := $(CARGO_BUILD_TARGET)
OUT := $(TARGET_DIR)/$(if $(TRIPLE),$(TRIPLE)/)
BUILD := $(OUT)capi/c
CARGO_ARGS := $(CARGOFLAGS) --target-dir $(TARGET_DIR) $(if $(TRIPLE),--target $(TRIPLE))

SOURCES := Cargo.toml Cargo.lock $(shell find src -name '*.rs')
SYMBOLS := include/conntab.symbols
COMMAND := $(OUT)release/conntab

MAN1 := $(wildcard docs/man/*.1)
MAN3 := $(wildcard docs/man/*.3)
# Names that lead to a page of section 3, as page:name.
LINKS3 := $(shell awk '/^\.SH NAME/ { getline; sub(/ \\-.*/, ""); gsub(/,/, ""); \
	for (i = 2; i <= NF; i++) print FILENAME ":" $$i }' $(MAN3) /dev/null)
DOCS := README.md CHANGELOG.md LICENSE-APACHE LICENSE-MIT $(wildcard docs/*.md)

# Everything that install puts anywhere.
INSTALLED := $(BINDIR)/conntab $(INCLUDEDIR)/conntab.h $(INCLUDEDIR)/conntab_dpdk.h \
	$(LIBDIR)/libconntab.a $(LIBDIR)/$(SOFILE) $(LIBDIR)/$(SONAME) $(LIBDIR)/libconntab.so $(LIBDIR)/pkgconfig/conntab.pc \
	$(addprefix $(MANDIR)/man1/,$(notdir $(MAN1))) $(addprefix $(MANDIR)/man3/,$(notdir $(MAN3))) \
	$(foreach link,$(LINKS3),$(MANDIR)/man3/$(lastword $(subst :, ,$(link))).3) \
	$(addprefix $(DOCDIR)/,$(notdir $(DOCS)))

# (Lists of make's are divided by blanks. DESTDIR is none of them, and may have some.)
$(foreach var,PREFIX BINDIR LIBDIR INCLUDEDIR MANDIR DOCDIR CARGO_TARGET_DIR,\
	$(if $(word 2,$($(var))),$(error $(var) has a blank in it: $($(var)))))

.PHONY: all lib command install install-strip uninstall clean
.DELETE_ON_ERROR:

all: lib command
lib: $(BUILD)/libconntab.a $(BUILD)/$(SOFILE)
command: $(COMMAND)

# What rustc makes: the crate and all it uses, with the names of Rust's runtime visible to all.
$(BUILD)/rust.a: $(SOURCES)
	mkdir -p $(BUILD)
	$(CARGO) rustc $(CARGO_ARGS) --package conntab --lib --profile capi --features capi --crate-type staticlib -- \
		--print native-static-libs="$(abspath $(BUILD))/native-static-libs"
	cp $(OUT)capi/libconntab.a $@

# One object, of what is reachable from C, in which nothing but C's names is global: two libraries written in Rust would
# otherwise both bring rust_eh_personality and more. (Groups go first: linkers match those of two objects by name.)
$(BUILD)/conntab.o: $(BUILD)/rust.a $(SYMBOLS)
	sed 's/^/-u /' $(SYMBOLS) >$@.roots
	$(CC) -r -nostdlib -o $@.all -Wl,--gc-sections -Wl,--force-group-allocation -Wl,@$@.roots $<
	$(OBJCOPY) --keep-global-symbols=$(SYMBOLS) $@.all $@
	rm $@.all $@.roots

$(BUILD)/libconntab.a: $(BUILD)/conntab.o
	rm -f $@
	$(AR) rcs $@ $<

# A library linked by rustc has no version node; so it is linked here.
$(BUILD)/conntab.map: $(SYMBOLS) Cargo.toml
	mkdir -p $(BUILD)
	{ echo 'CONNTAB_$(ABI) {'; echo '  global:'; sed 's/.*/    &;/' $(SYMBOLS); echo '  local: *;'; echo '};'; } >$@

$(BUILD)/$(SOFILE): $(BUILD)/conntab.o $(BUILD)/conntab.map
	$(CC) -shared -o $@ -Wl,-soname,$(SONAME) -Wl,--version-script,$(BUILD)/conntab.map -Wl,-z,defs -Wl,-z,relro -Wl,-z,now \
		-Wl,--as-needed $(LDFLAGS) $< $(PRIVATE)

# The system libraries that the static one needs. gcc_s and c are left to the compiler driver, which knows their static forms.
PRIVATE = $(filter-out -lgcc_s -lc,$(shell sed 's/^native-static-libs: //' $(BUILD)/native-static-libs))

$(COMMAND): $(SOURCES) cli/Cargo.toml $(shell find cli/src -name '*.rs')
	$(CARGO) build $(CARGO_ARGS) --package conntab-cli --release
	touch $@

install: all
	$(INSTALL) -d $(addprefix "$(DESTDIR)",$(BINDIR) $(LIBDIR)/pkgconfig $(INCLUDEDIR) $(MANDIR)/man1 $(MANDIR)/man3 $(DOCDIR))
	$(INSTALL) -m 755 $(COMMAND) "$(DESTDIR)$(BINDIR)/conntab"
	$(INSTALL) -m 644 include/conntab.h include/conntab_dpdk.h "$(DESTDIR)$(INCLUDEDIR)/"
	$(INSTALL) -m 644 $(BUILD)/libconntab.a "$(DESTDIR)$(LIBDIR)/libconntab.a"
	$(INSTALL) -m 755 $(BUILD)/$(SOFILE) "$(DESTDIR)$(LIBDIR)/$(SOFILE)"
	ln -sf $(SOFILE) "$(DESTDIR)$(LIBDIR)/$(SONAME)"
	ln -sf $(SONAME) "$(DESTDIR)$(LIBDIR)/libconntab.so"
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' -e 's|@PRIVATE@|$(PRIVATE)|' \
		-e 's|@LIBDIR@|$(patsubst $(PREFIX)/%,$${prefix}/%,$(LIBDIR))|' \
		-e 's|@INCLUDEDIR@|$(patsubst $(PREFIX)/%,$${prefix}/%,$(INCLUDEDIR))|' \
		conntab.pc.in >"$(DESTDIR)$(LIBDIR)/pkgconfig/conntab.pc"
	chmod 644 "$(DESTDIR)$(LIBDIR)/pkgconfig/conntab.pc"
	$(INSTALL) -m 644 $(MAN1) "$(DESTDIR)$(MANDIR)/man1"
	$(INSTALL) -m 644 $(MAN3) "$(DESTDIR)$(MANDIR)/man3"
	for link in $(LINKS3); do page=$${link%:*}; \
		ln -sf "$${page##*/}" "$(DESTDIR)$(MANDIR)/man3/$${link#*:}.3" || exit 1; done
	$(INSTALL) -m 644 $(DOCS) "$(DESTDIR)$(DOCDIR)"

install-strip: install
	$(STRIP) "$(DESTDIR)$(BINDIR)/conntab"
	$(STRIP) --strip-unneeded "$(DESTDIR)$(LIBDIR)/$(SOFILE)"
	$(STRIP) --strip-debug "$(DESTDIR)$(LIBDIR)/libconntab.a"

# Directories that others use, too, stay.
uninstall:
	for file in $(INSTALLED); do rm -f "$(DESTDIR)$$file" || exit 1; done
	[ ! -d "$(DESTDIR)$(DOCDIR)" ] || rmdir --ignore-fail-on-non-empty "$(DESTDIR)$(DOCDIR)"

clean:
	rm -rf $(OUT)capi
	$(CARGO) clean $(CARGO_ARGS) --package conntab-cli --release
