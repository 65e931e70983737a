"""Verbs at the start of docstrings."""

import re

VERBS = frozenset(
    re.findall(
        r"\w+",
        """
        abort accept accumulate acquire activate adapt add adjust aggregate align allocate allow analyze
        annotate append apply approximate assemble assert assign attach attempt average backpropagate begin
        benchmark binarize bind broadcast build cache calculate call cancel canonicalize capture cast change
        check choose chunk clamp classify clean clear clip clone close collapse collate collect combine
        compare compile complete compose compress compute concatenate configure connect construct consume
        contain control convert convolve copy correct count create crop customize cut deactivate decide
        decode decompose decompress decorate decrement deduplicate define delete dequantize dequeue
        deregister derive describe deserialize destroy detach detect determine disable discover dispatch
        display distribute divide download draw drop dump duplicate edit embed emit emulate enable
        encapsulate encode enforce ensure enter enumerate erase estimate evaluate evict examine execute exit
        expand expect export expose extend extract fail fetch fill filter finalize find finish fit fix
        flatten flip flush fold force format forward free freeze fuse gather generate get give group
        guarantee guess handle hash hold hook identify ignore implement import increment index indicate
        infer inherit initialize inject inline insert inspect install instantiate instrument interpolate
        intersect invoke iterate join keep launch learn let lift limit list load locate lock log look loop
        lower make manage map mark mask match materialize maximize measure merge mimic minimize mirror
        modify monkeypatch move multiply mutate name normalize note notify obtain offload open optimize
        order organize override overwrite pack pad parametrize parse partition pass patch patchify pause
        perform permute persist pick place plot point poll pool pop populate post postprocess predict
        prefetch prepare prepend preprocess preserve prevent print process produce project promote propagate
        prove provide prune publish pull push put quantize query raise randomize rank read realize rebuild
        receive recompose reconstruct record recover redirect reduce refresh register regroup regularize
        reject release reload remap remove rename render reorder repack repeat replace report represent
        request rescale reserve reset reshape reshard resize resolve restart restore resume retain retrieve
        return reverse revert rewrite roll rotate round route run sample sanitize save scale scan scatter
        schedule search select send separate serialize set shard shift show shuffle shut simplify simulate
        skip slice smooth snapshot solve sort specify split squeeze stack standardize start stop store
        stream strip submit substitute subtract sum support suppress suspend swap switch sync synchronize
        tag take teach tell terminate throw tile toggle tokenize trace track train transfer transform
        translate transpose traverse trigger trim truncate try tune turn undo unflatten unfold unfreeze
        unify unload unmerge unpack unpad unregister unset unshard unsqueeze unwrap update upgrade upload
        upsample use utilize validate verify view visit visualize wait walk warn wrap write yield zero
        """,
    )
)
