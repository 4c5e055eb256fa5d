# Reads a text as a tool for programs' sources would: what is named how often, and where.
use strict;
use warnings;

open(my $file, '<', $ARGV[0]) or die "$ARGV[0]: $!";
my (%count, %first, %follows, %length, @defs);
my ($last, $line, $digest) = ('', 0, 0);
while (my $text = <$file>) {
    $line++;
    push @defs, "$2 line $line" if $text =~ /^\s*(def|class)\s+(\w+)\s*[(:]/;
    $text =~ s/(["'])(?:\\.|(?!\1).)*\1/STRING/g;
    $text =~ s/#.*$//;
    $length{length $text}++;
    for my $word ($text =~ /\b([A-Za-z_]\w*)\b/g) {
        $count{$word}++;
        $first{$word} //= $line;
        $follows{"$last $word"}++ if $last ne '';
        $last = $word;
    }
    my $camel = $text;
    $camel =~ s/_([a-z])/\u$1/g;
    $camel =~ tr/aeiou/AEIOU/;
    $digest = ($digest * 31 + unpack('%32C*', $camel)) & 0xFFFFFFFF;
}
my @words = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
my @pairs = sort { $follows{$b} <=> $follows{$a} || $a cmp $b } keys %follows;
print "$_ $count{$_} from line $first{$_}\n" for @words[0 .. 49];
print "$_: $follows{$_}\n" for @pairs[0 .. 49];
print join(' ', map { "$_:$length{$_}" } sort { $a <=> $b } keys %length), "\n";
printf "%d lines, %d words, %d pairs, %d definitions, %08x\n", $line, scalar @words, scalar @pairs, scalar @defs, $digest;
print join("\n", grep { /[aeiou]{3}|(.)\1/ } sort @defs), "\n";
